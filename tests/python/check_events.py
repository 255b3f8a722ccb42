"""Whether each line of standard input is an event as the schema has it: `check_events.py SCHEMA COMMAND`

And whether all that the schema has for that command came up: each event, and each of its fields.
"""

import json
import sys

import fastjsonschema

schema_path, command = sys.argv[1:]
with open(schema_path) as file:
    schema = json.load(file)
shared = schema["definitions"]
# A branch of its own for each event tells what is wrong with it.
events = {event["properties"]["event"]["const"]: event for event in shared[command]["oneOf"]}
fits = {name: fastjsonschema.compile({**event, "definitions": shared}) for name, event in events.items()}
fits_any = fastjsonschema.compile(schema)

missing = {(name, field) for name, event in events.items() for field in event["properties"]}
for line in sys.stdin:
    event = json.loads(line)
    name = event["event"]
    try:
        fits[name](event)
        fits_any(event)
    except (KeyError, fastjsonschema.JsonSchemaException) as error:
        sys.exit(f"{error!r} in {line}")
    missing -= {(name, field) for field in event}
    if "path_hex" in event:
        # It stands beside a path everywhere.
        missing -= {(name, "path_hex") for name in events}
if missing:
    sys.exit(f"these never came up: {sorted(missing)}")

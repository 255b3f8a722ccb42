//! Compiles the two functions that take a variable number of arguments, which only C can define.

fn main() {
    println!("cargo::rerun-if-changed=src/variadic.c");
    cc::Build::new().file("src/variadic.c").compile("variadic");
}

/* The calls whose last argument is of any type or none: a long holds each of them. */

#include <stdarg.h>

int packhorse_fcntl(void *userdata, int fd, int cmd, long argument);
int packhorse_ioctl(void *userdata, int fd, unsigned long request, void *argument);

int packhorse_variadic_fcntl(void *userdata, int fd, int cmd, ...)
{
	va_list arguments;
	va_start(arguments, cmd);
	long argument = va_arg(arguments, long);
	va_end(arguments);
	return packhorse_fcntl(userdata, fd, cmd, argument);
}

int packhorse_variadic_ioctl(void *userdata, int fd, unsigned long request, ...)
{
	va_list arguments;
	va_start(arguments, request);
	void *argument = va_arg(arguments, void *);
	va_end(arguments);
	return packhorse_ioctl(userdata, fd, request, argument);
}

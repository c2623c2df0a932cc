/* Every name below localhost is this machine (RFC 6761, section 6.3), for a Wine on a system that does not know that. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>

typedef int (*resolver)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    static const char below[] = ".localhost";
    resolver next = (resolver)dlsym(RTLD_NEXT, "getaddrinfo");
    size_t length = name == NULL ? 0 : strlen(name);
    if (length > sizeof below - 1 && strcmp(name + length - (sizeof below - 1), below) == 0) {
        name = "127.0.0.1";
    }
    return next(name, service, hints, found);
}

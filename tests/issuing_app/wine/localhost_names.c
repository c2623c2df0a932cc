/* Every name below localhost is this machine (RFC 6761, section 6.3), for a Wine on a system that does not know that. Written
   without the C library's headers, which are not there for 32 bits. */
struct addrinfo;
typedef int (*resolver)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

extern void *dlsym(void *where, const char *name);
#define NEXT ((void *)-1L)

static int below_localhost(const char *name) {
    static const char below[] = ".localhost";
    unsigned length = 0;
    unsigned matched = 0;
    while (name[length] != '\0') {
        length++;
    }
    while (matched < sizeof below && matched <= length && name[length - matched] == below[sizeof below - 1 - matched]) {
        matched++;
    }
    return matched == sizeof below;
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    resolver next = (resolver)dlsym(NEXT, "getaddrinfo");
    if (name != (void *)0 && below_localhost(name)) {
        name = "127.0.0.1";
    }
    return next(name, service, hints, found);
}

/* What the tests' Wine is to find otherwise than the system has it. Written without the C library's headers, which are not there
   for 32 bits.

   Every name below localhost is this machine (RFC 6761, section 6.3), on a system that does not know that too.
   The system's own trust is not there: Wine takes every one of its roots into each new process, for half a second. */
struct addrinfo;
typedef int (*resolver)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
typedef int (*opener)(const char *, int, unsigned);
typedef void *(*folder_opener)(const char *);

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

static int trust_of_the_system(const char *path) {
    static const char *const folders[] = {"/etc/ssl/certs", "/etc/pki/tls/certs", "/usr/share/ca-certificates"};
    for (unsigned index = 0; index < sizeof folders / sizeof *folders; index++) {
        unsigned at = 0;
        while (folders[index][at] != '\0' && path[at] == folders[index][at]) {
            at++;
        }
        if (folders[index][at] == '\0') {
            return 1;
        }
    }
    return 0;
}

int open(const char *path, int flags, unsigned mode) {
    return trust_of_the_system(path) ? -1 : ((opener)dlsym(NEXT, "open"))(path, flags, mode);
}

int open64(const char *path, int flags, unsigned mode) {
    return trust_of_the_system(path) ? -1 : ((opener)dlsym(NEXT, "open64"))(path, flags, mode);
}

void *opendir(const char *path) {
    return trust_of_the_system(path) ? (void *)0 : ((folder_opener)dlsym(NEXT, "opendir"))(path);
}

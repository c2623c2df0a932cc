/* The bank's server that the app is pinned to: its name and port, from the file name, a header or the keyboard. */
#ifndef ISSUING_APP_ADDRESS_H
#define ISSUING_APP_ADDRESS_H

#include "octets.h"

#define ADDRESS_NAME_ROOM 254
#define ADDRESS_PRINTED_ROOM (ADDRESS_NAME_ROOM + 6)
#define HTTPS_PORT 443

struct address {
    char name[ADDRESS_NAME_ROOM];
    uint16_t port;
};

/* NAME or NAME:PORT, with `https://` before it and one slash after it where a person pastes that. Lower-cased. */
bool address_read(const char *text, struct address *address);
/* From `issuing-app(ib.example.co.jp).exe`, `issuing-app(ib.example.co.jp_8443) (1).exe`: what stands in the first
   round brackets that hold an address; an underscore before the port, since no file name takes a colon. */
bool address_from_file_name(const char *path, struct address *address);
/* NAME, or NAME:PORT where the port is not 443. */
void address_print(const struct address *address, char printed[ADDRESS_PRINTED_ROOM]);
/* Is it this domain or below it? An empty domain holds every name. */
bool address_within(const struct address *address, const char *domain);

#endif

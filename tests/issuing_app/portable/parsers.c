/* The app's parsers and writers as a program, built with the sanitisers: `parsers WHAT [ARGUMENT ...]`. Hexadecimal in and out. */
#include "address.h"
#include "bag.h"
#include "base64.h"
#include "code.h"
#include "est.h"
#include "request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_OCTETS (1 << 20)
#define LINE_ROOM 65536

static void print_hex(struct slice data) {
    for (size_t index = 0; index < data.length; index++) {
        printf("%02x", data.at[index]);
    }
    putchar('\n');
}

static void read_hex(const char *text, struct octets *out) {
    unsigned value;
    octets_open(out, MOST_OCTETS);
    for (; sscanf(text, "%2x", &value) == 1; text += 2) {
        uint8_t octet = (uint8_t)value;
        octets_add(out, &octet, 1);
    }
}

static struct slice all(const struct octets *octets) {
    return (struct slice){octets->at, octets->length};
}

/* Shows what is to be signed and takes the signature from standard input. */
static bool sign(void *holder, struct slice data, struct octets *signature) {
    static char line[LINE_ROOM];
    struct octets given;
    (void)holder;
    print_hex(data);
    fflush(stdout);
    if (fgets(line, sizeof line, stdin) == NULL) {
        return false;
    }
    read_hex(line, &given);
    octets_add(signature, given.at, given.length);
    octets_close(&given);
    return true;
}

static bool request(const char *name, const char *x, const char *y) {
    struct octets coordinates[2], key, subject, out;
    struct request_signer signer = {SIGNATURE_ECDSA_SHA256, sign, NULL};
    read_hex(x, &coordinates[0]);
    read_hex(y, &coordinates[1]);
    octets_open(&key, MOST_OCTETS);
    octets_open(&subject, MOST_OCTETS);
    octets_open(&out, MOST_OCTETS);
    public_key_p256(coordinates[0].at, coordinates[1].at, &key);
    name_of(name, &subject);
    bool done = request_build(all(&subject), all(&key), &signer, &out);
    if (done) {
        print_hex(all(&out));
    }
    octets_close(&coordinates[0]);
    octets_close(&coordinates[1]);
    octets_close(&key);
    octets_close(&subject);
    octets_close(&out);
    return done;
}

static bool bag(const char *hex) {
    struct octets der;
    struct bag found;
    read_hex(hex, &der);
    bool done = bag_read(all(&der), &found);
    for (size_t index = 0; done && index < found.count; index++) {
        print_hex(found.certificates[index]);
    }
    octets_close(&der);
    return done;
}

static bool parts(const char *hex) {
    struct octets der;
    struct certificate_parts found;
    read_hex(hex, &der);
    bool done = certificate_parts(all(&der), &found);
    if (done) {
        print_hex(found.issuer);
        print_hex(found.subject);
        print_hex(found.public_key);
    }
    octets_close(&der);
    return done;
}

static bool encode(const char *hex, const char *line) {
    struct octets data, out;
    read_hex(hex, &data);
    octets_open(&out, MOST_OCTETS);
    base64_encode(all(&data), (size_t)atoi(line), &out);
    fwrite(out.at != NULL ? (const char *)out.at : "", 1, out.length, stdout);
    octets_close(&data);
    octets_close(&out);
    return true;
}

static bool decode(const char *text) {
    struct octets out;
    octets_open(&out, MOST_OCTETS);
    bool done = base64_decode((struct slice){(const uint8_t *)text, strlen(text)}, &out);
    if (done) {
        print_hex(all(&out));
    }
    octets_close(&out);
    return done;
}

static bool code(const char *typed) {
    char printed[CODE_PRINTED_ROOM];
    enum code_verdict verdict = code_read(typed, printed);
    printf("%d %s\n", verdict, verdict == CODE_GOOD ? printed : "");
    return true;
}

static bool address(const char *text, bool (*read)(const char *, struct address *)) {
    struct address found;
    char printed[ADDRESS_PRINTED_ROOM];
    if (!read(text, &found)) {
        return false;
    }
    address_print(&found, printed);
    puts(printed);
    return true;
}

static bool within(const char *text, const char *domain) {
    struct address found;
    return address_read(text, &found) && address_within(&found, domain);
}

static bool answer(const char *status, const char *type, const char *hex) {
    struct octets body;
    struct est_answer found;
    read_hex(hex, &body);
    est_read((unsigned)atoi(status), type, all(&body), &found);
    printf("%d %d %zu\n%s\n%s\n%s\n", found.verdict, found.refusal, found.bag.count, found.code, found.japanese,
           found.english);
    est_answer_close(&found);
    octets_close(&body);
    return true;
}

static bool authorization(const char *user_id, const char *enrolment_code, const char *password) {
    struct octets out;
    octets_open(&out, MOST_OCTETS);
    bool done = est_authorization(user_id, *enrolment_code != '\0' ? enrolment_code : NULL, password, &out);
    if (done) {
        printf("%.*s\n", (int)out.length, (const char *)out.at);
    }
    octets_close(&out);
    return done;
}

static bool run(int count, char **arguments) {
    const char *what = count > 1 ? arguments[1] : "";
    char **given = arguments + 2;
    switch (count - 2) {
    case 1:
        return strcmp(what, "bag") == 0       ? bag(given[0])
               : strcmp(what, "parts") == 0   ? parts(given[0])
               : strcmp(what, "decode") == 0  ? decode(given[0])
               : strcmp(what, "code") == 0    ? code(given[0])
               : strcmp(what, "address") == 0 ? address(given[0], address_read)
                                              : strcmp(what, "file") == 0 && address(given[0], address_from_file_name);
    case 2:
        return strcmp(what, "encode") == 0 ? encode(given[0], given[1])
                                           : strcmp(what, "within") == 0 && within(given[0], given[1]);
    case 3:
        return strcmp(what, "request") == 0  ? request(given[0], given[1], given[2])
               : strcmp(what, "answer") == 0 ? answer(given[0], given[1], given[2])
                                             : strcmp(what, "authorization") == 0 &&
                                                   authorization(given[0], given[1], given[2]);
    default:
        return false;
    }
}

int main(int count, char **arguments) {
    return run(count, arguments) ? 0 : 1;
}

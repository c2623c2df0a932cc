/* Everything that the app reads from elsewhere, fuzzed: the first octet says which reader is meant. */
#include "address.h"
#include "bag.h"
#include "base64.h"
#include "code.h"
#include "est.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_answer(const char *type, unsigned status, struct slice body) {
    struct est_answer answer;
    est_read(status, type, body, &answer);
    for (size_t index = 0; index < answer.bag.count; index++) {
        struct certificate_parts parts;
        certificate_parts(answer.bag.certificates[index], &parts);
    }
    if (answer.verdict == EST_REFUSED && (answer.code[0] == '\0' || answer.refusal == EST_NOT_REFUSED)) {
        abort();
    }
    est_answer_close(&answer);
}

static void fuzz_bag(struct slice der) {
    struct bag bag;
    if (bag_read(der, &bag) && (bag.count == 0 || bag.count > BAG_MOST_CERTIFICATES)) {
        abort();
    }
    struct certificate_parts parts;
    certificate_parts(der, &parts);
}

/* What was decoded and encoded again is decoded to the same. */
static void fuzz_base64(struct slice text) {
    struct octets once, again, twice;
    octets_open(&once, EST_MOST_ANSWER_OCTETS);
    octets_open(&again, 2 * EST_MOST_ANSWER_OCTETS);
    octets_open(&twice, EST_MOST_ANSWER_OCTETS);
    if (base64_decode(text, &once)) {
        base64_encode((struct slice){once.at, once.length}, 64, &again);
        if (!base64_decode((struct slice){again.at, again.length}, &twice) ||
            !slice_equal((struct slice){once.at, once.length}, (struct slice){twice.at, twice.length})) {
            abort();
        }
    }
    octets_close(&once);
    octets_close(&again);
    octets_close(&twice);
}

static void fuzz_texts(const char *text) {
    char printed[CODE_PRINTED_ROOM];
    struct address address, same;
    char shown[ADDRESS_PRINTED_ROOM];
    if (code_read(text, printed) == CODE_GOOD && strlen(printed) != CODE_PRINTED_ROOM - 1) {
        abort();
    }
    address_from_file_name(text, &address);
    if (address_read(text, &address)) {
        address_print(&address, shown);
        if (!address_read(shown, &same) || strcmp(address.name, same.name) != 0 || address.port != same.port) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) {
        return 0;
    }
    struct slice rest = {data + 1, size - 1};
    switch (data[0] % 5) {
    case 0:
        fuzz_answer("application/pkcs7-mime; smime-type=certs-only", 200, rest);
        break;
    case 1:
        fuzz_answer("text/plain; charset=utf-8", 403, rest);
        break;
    case 2:
        fuzz_bag(rest);
        break;
    case 3:
        fuzz_base64(rest);
        break;
    default: {
        char *text = calloc(rest.length + 1, 1);
        if (text != NULL) {
            memcpy(text, rest.at, rest.length);
            fuzz_texts(text);
            free(text);
        }
    }
    }
    return 0;
}

#include "core/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char sentence[512];

static void finish(int length) {
    if (length >= (int)sizeof sentence) memcpy(sentence + sizeof sentence - 4, "...", 4);
    for (char *c = sentence; *c; c++) /* one line, whatever names came from files */
        if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?';
}

fv_status fv_fail(fv_status status, const char *format, ...) {
    char made[sizeof sentence]; /* arguments may point into the old sentence */
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(made, sizeof made, format, arguments);
    va_end(arguments);
    memcpy(sentence, made, sizeof made);
    finish(length);
    return status;
}

fv_status fv_fail_within(fv_status status, const char *format, ...) {
    char made[2 * sizeof sentence];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(made, sizeof sentence, format, arguments);
    va_end(arguments);
    if (length < 0) length = 0;
    if (length > (int)sizeof sentence - 1) length = (int)sizeof sentence - 1;
    length += snprintf(made + length, sizeof made - (size_t)length, ": %s", sentence);
    memcpy(sentence, made, sizeof sentence - 1);
    sentence[sizeof sentence - 1] = '\0';
    finish(length);
    return status;
}

const char *fv_last_error(void) { return sentence; }

const char *fv_status_name(fv_status s) {
    switch (s) {
    case FV_OK: return "FV_OK";
    case FV_ERR_ARGUMENT: return "FV_ERR_ARGUMENT";
    case FV_ERR_SHAPE: return "FV_ERR_SHAPE";
    case FV_ERR_STATE: return "FV_ERR_STATE";
    case FV_ERR_BUSY: return "FV_ERR_BUSY";
    case FV_ERR_FULL: return "FV_ERR_FULL";
    case FV_ERR_CANCELLED: return "FV_ERR_CANCELLED";
    case FV_ERR_DEADLINE: return "FV_ERR_DEADLINE";
    case FV_ERR_MEMORY: return "FV_ERR_MEMORY";
    case FV_ERR_LIMIT: return "FV_ERR_LIMIT";
    case FV_ERR_IO: return "FV_ERR_IO";
    case FV_ERR_NOT_FOUND: return "FV_ERR_NOT_FOUND";
    case FV_ERR_FORMAT: return "FV_ERR_FORMAT";
    case FV_ERR_UNSUPPORTED: return "FV_ERR_UNSUPPORTED";
    case FV_ERR_THREAD: return "FV_ERR_THREAD";
    }
    return "unknown status";
}

const char *fv_version(void) { return FV_VERSION; }

/*
 * text: foreign bytes made fit for what they are shown in.
 */
#ifndef PREFORKD_TEXT_H
#define PREFORKD_TEXT_H

#include <stddef.h>

/* Valid UTF-8 without NUL: whatever is not becomes U+FFFD, one for each byte. Cuts only between
 * characters. Returns out. */
char *text_utf8(const char *bytes, char *out, size_t size);

#endif

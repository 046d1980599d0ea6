/*
 * print: short texts of fixed shape. Knows nothing of what they mean.
 */
#include "ctl/print.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *print_safe(const char *text, char *out, size_t size)
{
	size_t n = 0;

	for (; text[n] != '\0' && n + 1 < size; n++)
		if (text[n] >= ' ' && text[n] <= '~')
			out[n] = text[n];
		else
			out[n] = '?';
	out[n] = '\0';
	return out;
}

bool print_colours(FILE *out)
{
	const char *term = getenv("TERM"), *no = getenv("NO_COLOR");

	return isatty(fileno(out)) == 1 && (no == NULL || *no == '\0') && term != NULL &&
	       strcmp(term, "dumb") != 0;
}

static char *unknown(char *out)
{
	memcpy(out, "-", sizeof("-"));
	return out;
}

char *print_number(int64_t number, char *out)
{
	if (number < 0)
		return unknown(out);
	snprintf(out, PRINT_WIDTH, "%" PRId64, number);
	return out;
}

char *print_bytes(int64_t bytes, char *out)
{
	static const char letters[] = "KMGTPE";
	double value = (double)bytes;
	int step = -1;

	if (bytes < 0)
		return unknown(out);
	while (value >= 1023.5) {
		value /= 1024;
		step++;
	}
	if (step < 0)
		return print_number(bytes, out);
	snprintf(out, PRINT_WIDTH, value < 9.95 ? "%.1f%c" : "%.0f%c", value, letters[step]);
	return out;
}

static char *print_moment(double seconds, char *out)
{
	if (seconds < 0.0000005)
		snprintf(out, PRINT_WIDTH, "0s");
	else if (seconds < 0.0009995)
		snprintf(out, PRINT_WIDTH, "%.0fus", seconds * 1e6);
	else if (seconds < 0.00995)
		snprintf(out, PRINT_WIDTH, "%.1fms", seconds * 1e3);
	else if (seconds < 0.0995)
		snprintf(out, PRINT_WIDTH, "%.0fms", seconds * 1e3);
	else
		snprintf(out, PRINT_WIDTH, "%.2fs", seconds);
	return out;
}

char *print_seconds(double seconds, char *out)
{
	if (!(seconds >= 0) || seconds > 1e11)
		return unknown(out);
	if (seconds < 9.995)
		return print_moment(seconds, out);
	uint64_t s = (uint64_t)(seconds + 0.5);
	if (s < 60)
		snprintf(out, PRINT_WIDTH, "%" PRIu64 "s", s);
	else if (s < 3600)
		snprintf(out, PRINT_WIDTH, "%" PRIu64 "m%02" PRIu64 "s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(out, PRINT_WIDTH, "%" PRIu64 "h%02" PRIu64 "m", s / 3600, s / 60 % 60);
	else
		snprintf(out, PRINT_WIDTH, "%" PRIu64 "d%02" PRIu64 "h", s / 86400, s / 3600 % 24);
	return out;
}

char *print_rate(double per_second, char *out)
{
	if (!(per_second >= 0) || per_second > 1e12)
		return unknown(out);
	snprintf(out, PRINT_WIDTH, per_second < 99.95 ? "%.1f" : "%.0f", per_second);
	return out;
}

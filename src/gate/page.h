/*
 * page: the status page, ready to send.
 */
#ifndef PREFORKD_GATE_PAGE_H
#define PREFORKD_GATE_PAGE_H

struct page {
	char *html;       /* for free() */
	char policy[320]; /* the value of Content-Security-Policy that belongs to this html */
};

/* A new one for each answer: what may run in it is marked by a number that nobody can guess.
 * -1 and errno on failure. */
int page_make(struct page *page);

#endif

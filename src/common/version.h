/* version: of the programs and of what they show. */
#ifndef PREFORKD_VERSION_H
#define PREFORKD_VERSION_H

#define VERSION "0.1.0"

#endif

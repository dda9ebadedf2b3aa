/* cmd_version.h - the MongoDB release whose behaviour clients are told to expect; agrees with hello's maxWireVersion (27 is 8.2). */
#ifndef CMD_CMD_VERSION_H
#define CMD_CMD_VERSION_H

#define CMD_VERSION "8.2.4"
#define CMD_VERSION_PARTS 8, 2, 4, 0
#define CMD_FEATURE_VERSION "8.2"

#endif

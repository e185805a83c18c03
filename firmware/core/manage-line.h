/**
 * Management of a running application on a serial line of its own: the SMP of manage.h, framed for a console. For boards
 * that have a line to spare: whoever sits there sees and updates the board while its registers are served elsewhere.
 */
#ifndef SL_MANAGE_LINE_H
#define SL_MANAGE_LINE_H

#include <stdint.h>

#include "hal.h"

/** After `sl_manage_start`. A line that the board does not have stays silent. */
void sl_manage_line_start(uint8_t uart, const sl_uart_line *line);

/** Serves what came. Call it every millisecond or two: what waits in between has 22 ms of a line at 115 200 baud. */
void sl_manage_line_loop(void);

#endif

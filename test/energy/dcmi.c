/*
 * A module of OpenIPMI's ipmi_sim that answers DCMI's Get Power Reading (DCMI 1.5, 6.6.1) with what a file says:
 * watts, `off` for a measurement that is switched off, or a completion code in hexadecimal such as `d4`.
 * Loaded with: loadlib "dcmi.so" "path of the file"
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <OpenIPMI/serv.h>
#include <OpenIPMI/mcserv.h>

#define DCMI_GROUP 0xdc
#define GET_POWER_READING 0x02
#define INVALID_COMMAND 0xc1
#define UNSPECIFIED 0xff
#define ACTIVE 0x40

static char path[4096];

static void put16(unsigned char *at, unsigned long value)
{
    at[0] = value & 0xff;
    at[1] = (value >> 8) & 0xff;
}

static void answer(lmc_data_t *mc, msg_t *msg, unsigned char *rdata, unsigned int *rdata_len, void *cb_data)
{
    char said[32] = "";
    unsigned long watts = 0;
    int active = 1;
    FILE *file = fopen(path, "r");

    (void)mc;
    (void)cb_data;
    *rdata_len = 1;
    if (file == NULL || fgets(said, sizeof(said), file) == NULL)
        rdata[0] = UNSPECIFIED;
    if (file != NULL)
        fclose(file);
    if (said[0] == '\0')
        return;
    if (msg->cmd != GET_POWER_READING) {
        rdata[0] = INVALID_COMMAND;
        return;
    }
    if (said[0] == 'c' || said[0] == 'd') {
        rdata[0] = (unsigned char)strtoul(said, NULL, 16);
        return;
    }
    if (strncmp(said, "off", 3) == 0)
        active = 0;
    else
        watts = strtoul(said, NULL, 10);
    memset(rdata, 0, 19);
    rdata[1] = DCMI_GROUP;
    for (int figure = 0; figure < 4; figure++)
        put16(rdata + 2 + 2 * figure, watts);
    put16(rdata + 14, 1000);
    rdata[18] = active ? ACTIVE : 0;
    *rdata_len = 19;
}

int ipmi_sim_module_print_version(sys_data_t *sys, char *options)
{
    (void)sys;
    (void)options;
    return 0;
}

int ipmi_sim_module_init(sys_data_t *sys, const char *options)
{
    (void)sys;
    snprintf(path, sizeof(path), "%s", options);
    ipmi_emu_register_group_extension_handler(DCMI_GROUP, answer, NULL);
    return 0;
}

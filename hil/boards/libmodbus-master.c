/* A foreign master, on libmodbus: reads and writes as the test says, prints what it read. PORT BAUD UNIT. */
#include <errno.h>
#include <modbus/modbus.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
  uint16_t words[10];
  uint8_t bits[8];
  const uint16_t given[2] = {123, 45};
  if (argc != 4) return 2;
  modbus_t *master = modbus_new_rtu(argv[1], atoi(argv[2]), 'N', 8, 1);
  modbus_set_slave(master, atoi(argv[3]));
  modbus_set_response_timeout(master, 5, 0);
  if (modbus_connect(master) != 0) return 3;
  /* What is sent before a board has come up is lost. */
  int read = -1;
  for (int tries = 0; tries < 5 && read != 10; tries++) read = modbus_read_registers(master, 0, 10, words);
  printf("read %d:", read);
  for (int i = 0; i < 10; i++) printf(" %d", words[i]);
  printf("\nwrite %d\n", modbus_write_registers(master, 100, 2, given));
  printf("both %d:", modbus_write_and_read_registers(master, 101, 1, given, 100, 2, words));
  printf(" %d %d\n", words[0], words[1]);
  printf("mask %d\n", modbus_mask_write_register(master, 0, 0x00F2, 0x0025));
  printf("coil %d\n", modbus_write_bit(master, 3, 1));
  printf("coils %d\n", modbus_read_bits(master, 0, 8, bits));
  printf("bits %d%d%d%d\n", bits[0], bits[1], bits[2], bits[3]);
  printf("discretes %d\n", modbus_read_input_bits(master, 0, 4, bits));
  printf("bits %d%d%d%d\n", bits[0], bits[1], bits[2], bits[3]);
  const int limit = modbus_write_register(master, 100, 1001);
  printf("limit %d %s\n", limit, modbus_strerror(errno));
  const int missing = modbus_read_input_registers(master, 3000, 1, words);
  printf("missing %d %s\n", missing, modbus_strerror(errno));
  modbus_close(master);
  modbus_free(master);
  return 0;
}

/**
 * NOR flash on the host, with power that can go at any operation: a word programmed or a page erased. What was under way
 * is left in random bits, from a seed. Stands in for the flash functions of hal.h, and stops the program where the core
 * breaks their contract (alignment, a word written more often than flash allows).
 */
#ifndef SL_FLASH_MODEL_H
#define SL_FLASH_MODEL_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>

#define MODEL_BASE 0x8000u
#define MODEL_PAGE 1024u
#define MODEL_PAGES 16u
#define MODEL_SIZE (MODEL_PAGE * MODEL_PAGES)

typedef struct {
  uint8_t bytes[MODEL_SIZE];
  uint8_t writes[MODEL_SIZE / 4]; /* of each word since its page was erased */
} model_flash;

extern model_flash model;
extern jmp_buf model_power_lost;

/** Cuts the power during the `operation`-th operation from now on, counted from 1; 0: never. */
void model_cut_at(uint32_t operation);
/** Operations since the last call of model_cut_at. */
uint32_t model_operations(void);
void model_seed(uint32_t seed);
uint32_t model_random(void);
void model_erase_all(void);

#endif

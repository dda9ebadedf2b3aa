/* bsonx_priv.h - shared inside bsonx. */
#ifndef BSONX_PRIV_H
#define BSONX_PRIV_H

#include "bsonx/bval.h"
#include "bsonx/bw.h"

/* bsonx__value_len(): bytes of an encoded value of a validated document. */
uint32_t bsonx__value_len(uint8_t type, const uint8_t *p);

#endif

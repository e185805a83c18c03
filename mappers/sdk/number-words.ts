import { integer, mapOf, number, object, optional, type Rule, text } from '../../api/schema/parts.ts'

/** What a binding says about a raw number, in the same words in every protocol. */

export const scaleWords = () => ({
  scale: optional(number({ description: 'value = raw * scale + offset. Default 1; never 0.' })),
  offset: optional(number({ description: 'value = raw * scale + offset. Default 0.' })),
})

/** @param widest bits of the widest integer; JSON numbers hold 53 of them exactly. */
export const bitWords = (widest: 32 | 64) => ({
  bit: optional(integer({ minimum: 0, maximum: widest - 1, description: 'One bit of the number, 0 is the lowest.' })),
  bits: optional(
    object(
      {
        first: integer({ minimum: 0, maximum: widest - 1 }),
        count: integer({ minimum: 1, maximum: Math.min(53, widest) }),
      },
      { description: 'A few bits of the number, as an unsigned number; first 0 is the lowest.' },
    ),
  ),
})

export const mapWord = () => ({
  map: optional(
    mapOf(text({ maxLength: 128 }), { maxProperties: 256, description: 'Word by raw number: {0: off, 1: on}.' }),
  ),
})

export const scaleRule: Rule = { rule: '!has(self.scale) || self.scale != 0.0', message: 'scale must not be 0' }
export const bitRule: Rule = { rule: '!(has(self.bit) && has(self.bits))', message: 'give bit or bits, not both' }
export const mapRule: Rule = {
  rule: '!(has(self.map) && (has(self.scale) || has(self.offset)))',
  message: 'map gives words for raw numbers; it cannot be combined with scale or offset',
}

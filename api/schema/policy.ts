import type { Static } from 'typebox'
import { duration, flag, integer, keyedList, listOf, number, object, optional, text, timestamp, word } from './parts.ts'

export const STAGE_PODS = ['refuse', 'handBack'] as const
export type PodStage = (typeof STAGE_PODS)[number]

const conditions = {
  onBattery: optional(flag({ description: 'The gateway runs on its battery, or does not.' })),
  batteryBelow: optional(number({ minimum: 0, maximum: 100, description: 'Charge in per cent.' })),
  emptyWithin: optional(duration({ description: 'The battery is forecast to be empty sooner than this.' })),
  hotterThan: optional(number({ description: 'Hottest zone in degrees Celsius.' })),
  throttled: optional(flag({ description: 'Slowed down by heat or for want of voltage, or not.' })),
  linkBelow: optional(
    number({ minimum: 0, maximum: 1, description: 'Quality of the way to the hub, 0 unusable to 1 perfect.' }),
  ),
  roundTripAboveMs: optional(number({ minimum: 0 })),
  lossAbove: optional(number({ minimum: 0, maximum: 1, description: 'Share of pings that nobody answered.' })),
}

/** One alternative: everything that is given has to hold. */
const policyWhen = () =>
  object(conditions, {
    rules: [
      {
        rule: Object.keys(conditions)
          .map((name) => `has(self.${name})`)
          .join(' || '),
        message: `give at least one condition: ${Object.keys(conditions).join(', ')}`,
      },
    ],
  })

const policyStage = () =>
  object({
    name: text({ minLength: 1, maxLength: 63, pattern: '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$' }),
    when: listOf(policyWhen(), { minItems: 1, maxItems: 8, description: 'Any of these; within one, all of it.' }),
    after: optional(duration({ description: 'Must hold this long before the stage begins. Default 30s.' })),
    hold: optional(duration({ description: 'Once begun, the stage lasts at least this long. Default 5m.' })),
    poll: optional(number({ minimum: 1, maximum: 1000, description: 'Factor by which poll periods are stretched.' })),
    report: optional(
      number({ minimum: 1, maximum: 1000, description: 'Factor by which report periods are stretched.' }),
    ),
    pods: optional(
      word(STAGE_PODS, {
        description:
          'refuse: no pod begins here. handBack: those that run end too, and begin elsewhere. Not while tethered and led.',
      }),
    ),
    pause: optional(
      listOf(word(['deferrable', 'normal']), {
        maxItems: 2,
        description: 'Devices of this importance are left alone. `critical` ones are never touched.',
      }),
    ),
  })

/**
 * What a gateway does about its battery, heat and link. Stages go from mild to severe; the last one whose conditions
 * hold is in force. A condition ends only when it is left by a margin: 5 % of charge, 5 K, 0.1 of quality, a fifth of
 * any other figure.
 */
export const gatewayPolicy = () =>
  object({
    stages: keyedList(policyStage(), 'name', { maxItems: 8 }),
    maxPoll: optional(duration({ description: 'No property is stretched beyond this. Default 1h.' })),
  })

/** The stage in force, as `Gateway.status` shows it. */
export const policyStatus = () =>
  object({
    stage: text({ maxLength: 63, description: '`normal` when no stage is in force.' }),
    since: timestamp(),
    why: optional(text({ maxLength: 256 })),
    stretched: optional(integer({ minimum: 0, description: 'Devices that are polled or reported less often.' })),
    paused: optional(integer({ minimum: 0, description: 'Devices that are left alone.' })),
    pods: optional(word(STAGE_PODS, { description: 'What the stage does about pods, where the gateway has a will.' })),
  })

export type GatewayPolicy = Static<ReturnType<typeof gatewayPolicy>>
export type PolicyStage = Static<ReturnType<typeof policyStage>>
export type PolicyWhen = Static<ReturnType<typeof policyWhen>>
export type PolicyStatus = Static<ReturnType<typeof policyStatus>>

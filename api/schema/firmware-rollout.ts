import type { Static } from 'typebox'
import { UPDATE_STATES } from '../link/firmware.ts'
import {
  condition,
  duration,
  flag,
  integer,
  type KubeObject,
  keyedList,
  listOf,
  mapOf,
  object,
  optional,
  text,
  timestamp,
  word,
} from './parts.ts'
import { NAME_PATTERN } from './patterns.ts'

/** Devices of one rollout at most: their states stand in its status. */
export const MAX_ROLLOUT_DEVICES = 500

const deviceName = () => text({ minLength: 1, maxLength: 253, pattern: NAME_PATTERN })

export const firmwareRolloutSpec = () =>
  object(
    {
      release: text({ minLength: 1, maxLength: 253, pattern: NAME_PATTERN, description: 'FirmwareRelease to bring.' }),
      devices: optional(listOf(deviceName(), { minItems: 1, maxItems: MAX_ROLLOUT_DEVICES })),
      selector: optional(
        object({
          matchLabels: mapOf(text({ maxLength: 63 }), {
            maxProperties: 16,
            description: 'Devices with these labels whose model is the release’s; looked up once, at the start.',
          }),
        }),
      ),
      canary: optional(
        integer({ minimum: 1, maximum: 50, description: 'Devices that go first, and must all succeed. Default 1.' }),
      ),
      waves: optional(
        listOf(integer({ minimum: 1, maximum: 100 }), {
          minItems: 1,
          maxItems: 20,
          description: 'After the canary: percentages of all devices, the last 100. Default [100].',
        }),
      ),
      paused: optional(flag({ description: 'Nothing new is begun. Default false.' })),
      onFailure: optional(
        word(['rollBack', 'halt'], {
          description:
            'When it halts because the new image was not well on a device: rollBack takes all of them back to what they ran before. Default rollBack.',
        }),
      ),
      rollBack: optional(
        flag({ description: 'Takes every device back to what it ran before, also when all is done. Default false.' }),
      ),
      maxFailures: optional(
        integer({ minimum: 0, maximum: 500, description: 'Failures after the canary that do not halt it. Default 0.' }),
      ),
      health: optional(
        object({
          polls: optional(
            integer({ minimum: 1, maximum: 1000, description: 'Polls in a row with good values alone. Default 5.' }),
          ),
          timeout: optional(duration({ description: 'From the restart to healthy. Default 2m.' })),
        }),
      ),
      deadline: optional(duration({ description: 'For one device, everything included. Default 1h.' })),
      allowDevelopmentKey: optional(flag({ description: 'For boards on the bench. Default false.' })),
      retry: optional(
        integer({ minimum: 0, maximum: 1000, description: 'Raise it to try failed devices once more. Default 0.' }),
      ),
    },
    {
      rules: [
        { rule: 'has(self.devices) != has(self.selector)', message: 'give devices or a selector, and not both' },
        { rule: 'self.release == oldSelf.release', message: 'another release needs another rollout' },
        {
          rule: 'has(self.devices) == has(oldSelf.devices) && (!has(self.devices) || self.devices == oldSelf.devices)',
          message: 'the devices of a rollout never change: make another one for others',
        },
        {
          rule: '!has(self.waves) || self.waves[size(self.waves) - 1] == 100',
          message: 'the last wave is 100',
        },
      ],
    },
  )

const deviceState = () =>
  object({
    name: deviceName(),
    state: word(['pending', 'gone', ...UPDATE_STATES]),
    stage: integer({ minimum: 0, description: '0: canary; then the waves.' }),
    gateway: optional(text({ maxLength: 253 })),
    percent: optional(integer({ minimum: 0, maximum: 100 })),
    running: optional(text({ maxLength: 40, description: 'Version that runs, as the board says.' })),
    message: optional(text({ maxLength: 1024 })),
    startedAt: optional(timestamp()),
    retry: optional(integer({ minimum: 0, description: 'spec.retry under which it was begun.' })),
  })

export const firmwareRolloutStatus = () =>
  object({
    observedGeneration: optional(integer({ minimum: 0 })),
    phase: optional(word(['Waiting', 'Canary', 'Waves', 'Paused', 'Halted', 'Done', 'RollingBack', 'RolledBack'])),
    message: optional(text({ maxLength: 1024, description: 'Why it stands where it stands.' })),
    progress: optional(text({ maxLength: 40, description: 'Devices that are done, of all.' })),
    stage: optional(text({ maxLength: 40 })),
    updating: optional(integer({ minimum: 0 })),
    failed: optional(integer({ minimum: 0 })),
    reverted: optional(integer({ minimum: 0, description: 'Devices that run again what they ran before.' })),
    devices: optional(keyedList(deviceState(), 'name', { maxItems: MAX_ROLLOUT_DEVICES })),
    conditions: optional(keyedList(condition(), 'type', { maxItems: 8 })),
  })

export type FirmwareRolloutSpec = Static<ReturnType<typeof firmwareRolloutSpec>>
export type FirmwareRolloutStatus = Static<ReturnType<typeof firmwareRolloutStatus>>
export type RolloutDevice = NonNullable<FirmwareRolloutStatus['devices']>[number]
/** Brings a release to devices: a canary first, then waves, halted by failures. */
export type FirmwareRollout = KubeObject<FirmwareRolloutSpec, FirmwareRolloutStatus>

import type { Static } from 'typebox'
import { condition, integer, type KubeObject, keyedList, object, optional, text, word } from './parts.ts'
import { NAME_PATTERN } from './patterns.ts'

const SHA256 = '^[0-9a-f]{64}$'

const image = () =>
  object(
    {
      slot: word(['A', 'B'], { description: 'The slot the image is linked for.' }),
      slotAddress: integer({ minimum: 0, maximum: 0xffff_ffff, description: 'Its address, as the image says it.' }),
      sha256: text({
        pattern: SHA256,
        maxLength: 64,
        description: 'Of the file: under it the cloud core keeps the bytes.',
      }),
      digest: text({ pattern: SHA256, maxLength: 64, description: 'The digest inside the image, as boards name it.' }),
      sizeBytes: integer({ minimum: 1, maximum: 8 * 1024 * 1024 }),
    },
    { description: 'One signed image.' },
  )

export const firmwareReleaseSpec = () =>
  object(
    {
      model: text({
        minLength: 1,
        maxLength: 253,
        pattern: NAME_PATTERN,
        description: 'DeviceModel in this namespace.',
      }),
      modelHash: text({
        pattern: '^[0-9a-f]{16}$',
        maxLength: 16,
        description: 'First 8 bytes of the SHA-256 of the model that the firmware was made of.',
      }),
      board: text({ minLength: 1, maxLength: 24, pattern: '^[!-~]+$' }),
      version: text({ maxLength: 24, pattern: '^\\d{1,3}\\.\\d{1,3}\\.\\d{1,5}(\\+\\d{1,10})?$' }),
      securityCounter: integer({
        minimum: 1,
        maximum: 0xffff_fffe,
        description: 'Boards take nothing below the highest they have confirmed.',
      }),
      publicKey: text({ pattern: SHA256, maxLength: 64, description: 'Raw Ed25519 key that signed, in hex.' }),
      images: keyedList(image(), 'slot', { maxItems: 2 }),
    },
    {
      rules: [
        { rule: 'size(self.images) >= 1', message: 'a release has an image for at least one slot' },
        { rule: 'self == oldSelf', message: 'a release never changes: make another one under another name' },
      ],
    },
  )

export const firmwareReleaseStatus = () =>
  object({
    state: optional(word(['Ready', 'Incomplete', 'Invalid'])),
    message: optional(text({ maxLength: 1024 })),
    conditions: optional(keyedList(condition(), 'type', { maxItems: 8 })),
  })

export type FirmwareReleaseSpec = Static<ReturnType<typeof firmwareReleaseSpec>>
export type FirmwareReleaseStatus = Static<ReturnType<typeof firmwareReleaseStatus>>
/** A signed firmware for one board and model; the bytes are kept by the cloud core. */
export type FirmwareRelease = KubeObject<FirmwareReleaseSpec, FirmwareReleaseStatus>

import type { ObjectKey } from '../../api/resources.ts'
import type { HostEvent } from './mapper.ts'

/** Codes that say more than "these bytes are no value". */
const REASONS: ReadonlyMap<string, string> = new Map([
  ['mic', 'MicFailure'],
  ['join-mic', 'MicFailure'],
  ['replay', 'FrameReplayed'],
  ['replayed', 'FrameReplayed'],
  ['join-replay', 'FrameReplayed'],
  ['no-key', 'KeyMissing'],
  ['wrong-key', 'KeyWrong'],
  ['no-payload', 'PayloadMissing'],
  ['payload-missing', 'PayloadMissing'],
  ['decoder-timeout', 'DecoderTimeout'],
  ['no-decoder', 'DecoderMissing'],
])

/** An event about something a device sent that cannot be used; `code` is the one in `bad(code)`. */
export const unusableEvent = (device: ObjectKey, code: string, reason: string): HostEvent => ({
  about: device,
  type: 'Warning',
  reason: REASONS.get(code) ?? (code.startsWith('decoder-') ? 'DecoderFailed' : 'PayloadUnusable'),
  message: reason,
  unusable: true,
})

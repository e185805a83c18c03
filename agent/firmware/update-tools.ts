import type { Clock } from '../../api/clock.ts'
import type { FirmwareStatusItem } from '../../api/link/firmware.ts'
import type { ObjectKey } from '../../api/resources.ts'
import type { Reading } from '../../mappers/sdk/mapper.ts'
import type { ImageStore } from './image-store.ts'
import type { UpdateNote } from './update.ts'

/** What an update says of itself. */
export type UpdateWord = Omit<FirmwareStatusItem, 'key' | 'uid' | 'attempt'>

/** What one update needs of the agent. */
export interface UpdateTools {
  readonly device: ObjectKey
  readonly clock: Clock
  readonly images: ImageStore
  say(word: UpdateWord): void
  /** What is remembered of this very attempt. */
  note(): UpdateNote | undefined
  /** On the disk when it returns. */
  remember(note: UpdateNote): void
  /** Properties whose newest value is good. */
  goodProperties(): readonly string[]
  onReadings(listener: (batch: readonly Reading[]) => void): () => void
}

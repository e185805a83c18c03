import { SluiceError } from '../../api/errors.ts'
import { PatchedStore } from './byte-store.ts'
import { FatVolume } from './fat.ts'
import { mayHoldFat, type Partition, readPartitions } from './partitions.ts'
import type { Survey } from './survey.ts'

export interface BootPartition {
  readonly partition: Partition
  readonly volume: FatVolume
  /** Collects what is changed in the volume. */
  readonly changes: PatchedStore
}

/** The first partition with a readable FAT. Throws SLUICE_FLASH_PARTITIONS, SLUICE_FLASH_FAT, SLUICE_FLASH_NO_BOOT. */
export function openBootPartition({ image }: Survey, nowMs: number): BootPartition {
  const candidates = readPartitions(image).filter(mayHoldFat)
  let failure: unknown
  for (const partition of candidates) {
    const changes = new PatchedStore(image)
    try {
      return { partition, changes, volume: new FatVolume(changes, partition, nowMs) }
    } catch (thrown) {
      failure ??= thrown
    }
  }
  throw (
    failure ??
    new SluiceError('SLUICE_FLASH_NO_BOOT', 'The image has no FAT partition that a configuration could be put on', {
      hint: 'Use an image for a Raspberry Pi, or one with cloud-init; --plain writes an image as it is.',
    })
  )
}

import type { ImageStore } from '../runtimes/runtime.ts'

export interface DiskUse {
  readonly bytes: number
  /** What somebody without special rights may still write. */
  readonly freeBytes: number
}

export interface CollectLimits {
  /** From this share of the disk on images are removed ... */
  readonly high: number
  /** ... until it is this one. */
  readonly low: number
  /** One that was used later than this is left alone: somebody may be about to start it. */
  readonly minAgeMs: number
}

/** The kubelet's defaults (`imageGCHighThresholdPercent`, `imageGCLowThresholdPercent`, `imageMinimumGCAge`). */
export const COLLECT_LIMITS: CollectLimits = { high: 0.85, low: 0.8, minAgeMs: 120_000 }

export interface Collected {
  readonly removed: readonly string[]
  readonly freedBytes: number
  /** What should have been freed besides, and is in use. */
  readonly lackingBytes: number
}

/**
 * Removes images when the disk is full, those that were not used for longest first, and never one that is in use. With
 * `atOnce` whatever is not used goes, whatever the disk is like: something else has run out.
 */
export async function collectImages(
  images: ImageStore,
  inUse: ReadonlySet<string>,
  disk: DiskUse,
  nowMs: number,
  signal: AbortSignal,
  { limits = COLLECT_LIMITS, atOnce = false }: { limits?: CollectLimits; atOnce?: boolean } = {},
): Promise<Collected> {
  const used = disk.bytes === 0 ? 0 : 1 - disk.freeBytes / disk.bytes
  if (!atOnce && used < limits.high) return { removed: [], freedBytes: 0, lackingBytes: 0 }
  const wantedBytes = atOnce ? Number.POSITIVE_INFINITY : disk.bytes * (1 - limits.low) - disk.freeBytes
  const candidates = (await images.list(signal))
    .filter(({ id, lastUsedMs }) => !inUse.has(id) && nowMs - lastUsedMs >= limits.minAgeMs)
    .sort((a, b) => a.lastUsedMs - b.lastUsedMs)
  const removed: string[] = []
  let freedBytes = 0
  for (const { id, bytes, names } of candidates) {
    if (freedBytes >= wantedBytes) break
    await images.remove(id, signal)
    removed.push(names[0] ?? id)
    freedBytes += bytes
  }
  const lackingBytes = Number.isFinite(wantedBytes) ? Math.max(0, wantedBytes - freedBytes) : 0
  return { removed, freedBytes, lackingBytes }
}

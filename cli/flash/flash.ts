import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { Clock } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'
import { openBootPartition } from './boot-partition.ts'
import { type Chosen, chooseDevice } from './choose.ts'
import { automounted, type BlockDevice } from './disks.ts'
import { writeFirstBoot } from './first-boot.ts'
import { type InitFormat, initFormatOf } from './init-format.ts'
import type { GatewaySettings } from './settings.ts'
import { openSource, streamImage } from './source.ts'
import { type Survey, surveyImage } from './survey.ts'
import { openTarget, type WriteTarget } from './target.ts'
import { BLOCK_BYTES, writeImage } from './write-image.ts'

export interface FlashRequest {
  readonly image: string
  /** `auto` or a path. */
  readonly device: string
  readonly allowLarge: boolean
  readonly allowFixed: boolean
  readonly sha256: string | undefined
  /** Undefined writes the image as it is. */
  readonly settings: GatewaySettings | undefined
  readonly declared: InitFormat | undefined
}

/** What flashing needs from the outside; tests bring their own. */
export interface FlashDeps {
  readonly clock: Clock
  readonly signal: AbortSignal
  readonly devices: () => Promise<readonly BlockDevice[]>
  /** Resolves when the person agreed, throws otherwise. */
  readonly confirm: (chosen: Chosen) => Promise<void>
  readonly unmount?: (mountpoint: string) => Promise<void>
  readonly open?: (chosen: Chosen) => Promise<WriteTarget>
  readonly onProgress: (phase: 'check' | 'write' | 'verify', doneBytes: number, totalBytes: number) => void
}

export interface Flashed {
  readonly device: string
  readonly model: string
  readonly imageBytes: number
  /** Of the image as it came. */
  readonly imageSha256: string | undefined
  /** Of what is on the card, configuration included, as it was read back. */
  readonly cardSha256: string
  readonly verifiedDirectly: boolean
  readonly format: InitFormat | null
  /** On the boot partition. */
  readonly files: readonly string[]
}

/**
 * Checks the image, works out every change, asks, writes, reads back and compares. Whatever can be known to be wrong is
 * found while the card is still what it was.
 */
export async function flashImage(request: FlashRequest, deps: FlashDeps): Promise<Flashed> {
  const { signal, onProgress } = deps
  const source = openSource(request.image)
  using survey = await surveyImage(source, {
    signal,
    ...(request.sha256 === undefined ? {} : { sha256: request.sha256 }),
    onProgress: (bytes) => onProgress('check', bytes, source.fileBytes),
  })
  const prepared = request.settings === undefined ? undefined : prepare(survey, request.settings, request, deps)
  const chosen = await choose(request, survey, deps)
  await deps.confirm(chosen)
  // Between the list and the answer somebody may have plugged or mounted something.
  const again = await choose({ ...request, device: chosen.path }, survey, deps)
  if (again.sizeBytes !== chosen.sizeBytes || again.title !== chosen.title) throw swapped(chosen.path)
  for (const mount of again.disk === undefined ? [] : automounted(again.disk)) await (deps.unmount ?? unmount)(mount)
  await using target = await (deps.open?.(again) ?? openTarget(again.path, again.sizeBytes, BLOCK_BYTES))
  const written = await writeImage({
    target,
    image: streamImage(source, { signal }),
    imageBytes: survey.imageBytes,
    imageSha256: survey.imageSha256,
    ...(prepared === undefined ? {} : { patch: (bytes, offset) => prepared.changes.patch(bytes, offset) }),
    signal,
    onProgress: (phase, done) => onProgress(phase, done, survey.imageBytes),
  })
  return {
    device: again.path,
    model: again.title,
    imageBytes: survey.imageBytes,
    imageSha256: survey.imageSha256,
    cardSha256: written.sha256,
    verifiedDirectly: written.direct,
    format: prepared?.format ?? null,
    files: prepared?.files ?? [],
  }
}

function prepare(survey: Survey, settings: GatewaySettings, { declared }: FlashRequest, { clock }: FlashDeps) {
  const { volume, changes } = openBootPartition(survey, clock.now())
  const format = initFormatOf(volume, declared)
  return { changes, format, files: writeFirstBoot(volume, format, settings) }
}

const choose = async (request: FlashRequest, { imageBytes }: Survey, deps: FlashDeps): Promise<Chosen> =>
  chooseDevice(request.device, await deps.devices(), {
    imageBytes,
    imagePath: request.image,
    allowLarge: request.allowLarge,
    allowFixed: request.allowFixed,
  })

async function unmount(mountpoint: string): Promise<void> {
  try {
    await promisify(execFile)('umount', ['--', mountpoint], { timeout: 30_000 })
  } catch (cause) {
    throw new SluiceError('SLUICE_FLASH_DEVICE_REFUSED', `'${mountpoint}' on the card cannot be unmounted`, {
      hint: 'Close the programs that show its files. Nothing was written.',
      cause,
    })
  }
}

const swapped = (path: string): SluiceError =>
  new SluiceError('SLUICE_FLASH_DEVICE_REFUSED', `${path} is another disk than a moment ago`, {
    hint: 'Start again. Nothing was written.',
  })

import type { Clock } from '../../api/clock.ts'
import type { FlashProgress, FlashTarget } from '../../firmware/tools/flash/runner.ts'
import type { Output } from '../output.ts'
import { printable } from '../text.ts'

const TELL_MS = 250

/** How far flashing is: four times a second, with the rate; one JSON object a line where that was asked for. */
export function flashProgress(out: Output, clock: Clock): (progress: FlashProgress) => void {
  let told = Number.NEGATIVE_INFINITY
  return ({ writtenBytes, totalBytes, bytesPerSecond }) => {
    const nowMs = clock.monotonic()
    if (nowMs - told < TELL_MS && writtenBytes < totalBytes) return
    told = nowMs
    const rate = Math.round(bytesPerSecond)
    if (out.json) out.value({ event: 'progress', doneBytes: writtenBytes, totalBytes, bytesPerSecond: rate })
    else out.note(`${Math.floor((writtenBytes * 100) / totalBytes)} %  ${(rate / 1024).toFixed(1)} KiB/s`)
  }
}

/** Who was found, and what is on it. */
export function tellTarget(out: Output, target: FlashTarget, where: { runner: string; port: string }): void {
  if (out.json) out.value({ event: 'target', ...where, ...target })
  else
    out.note(
      printable(
        `${target.chip}${target.running === undefined ? '' : `, has ${target.running}`}, over ${where.runner} at ${where.port}`,
      ),
    )
}

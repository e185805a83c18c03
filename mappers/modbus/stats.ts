import type { SessionStats } from './session.ts'

/** The counters behind `SessionStats`. */
export class Counters implements SessionStats {
  requests = 0
  replies = 0
  exceptions = 0
  timeouts = 0
  crcErrors = 0
  lateFramesDropped = 0
  strayFrames = 0
  garbageBytes = 0
  bytesIn = 0
  bytesOut = 0
  busyMs = 0
  connects = 0
  window = 1
  readonly turnaroundMs = new Map<number, number>()

  learnTurnaround(unit: number, sampleMs: number): void {
    const known = this.turnaroundMs.get(unit)
    this.turnaroundMs.set(unit, known === undefined ? sampleMs : known + (sampleMs - known) / 8)
  }
}

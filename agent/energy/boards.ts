import { join } from 'node:path'
import { namesIn, textOf } from './folder.ts'
import type { PowerModel } from './model.ts'
import type { Roots } from './source.ts'

interface Board {
  /** In `/proc/device-tree/model`. */
  readonly model: RegExp
  readonly idleWatts: number
  /** With all cores busy. */
  readonly fullWatts: number
  readonly cores: number
  readonly errorPercent: number
  readonly origin: string
}

const PIDRAMBLE = 'measured at the plug by the Pi Dramble project (idle, and all four cores busy)'

/** Published measurements of bare boards: no screen, no USB device. The longest name that fits comes first. */
const BOARDS: readonly Board[] = [
  {
    model: /Raspberry Pi 5|Compute Module 5/,
    idleWatts: 3,
    fullWatts: 8,
    cores: 4,
    errorPercent: 25,
    origin: 'press reviews of the Raspberry Pi 5, which differ by 1 W with firmware and cooling',
  },
  {
    model: /Raspberry Pi (4|400)|Compute Module 4/,
    idleWatts: 2.7,
    fullWatts: 6.4,
    cores: 4,
    errorPercent: 20,
    origin: PIDRAMBLE,
  },
  {
    model: /Raspberry Pi 3 Model [AB] Plus/,
    idleWatts: 1.9,
    fullWatts: 5.1,
    cores: 4,
    errorPercent: 20,
    origin: PIDRAMBLE,
  },
  {
    model: /Raspberry Pi 3|Compute Module 3/,
    idleWatts: 1.4,
    fullWatts: 3.7,
    cores: 4,
    errorPercent: 20,
    origin: PIDRAMBLE,
  },
  { model: /Raspberry Pi 2/, idleWatts: 1.1, fullWatts: 2.1, cores: 4, errorPercent: 20, origin: PIDRAMBLE },
  {
    model: /Raspberry Pi Zero 2/,
    idleWatts: 0.6,
    fullWatts: 2.3,
    cores: 4,
    errorPercent: 25,
    origin: 'CNX Software with an Otii Arc (idle); A. Jacobs with a USB meter (all four cores busy)',
  },
  { model: /Raspberry Pi Zero/, idleWatts: 0.4, fullWatts: 1.2, cores: 1, errorPercent: 25, origin: PIDRAMBLE },
]

/** Wi-Fi on boards this size: about 0.7 W more while sending 20 Mbit/s, so 0.3 µJ a byte; a coarse figure. */
const RADIO_J_PER_BYTE = 0.3e-6
/** An SD card or eMMC takes about 0.2 W more at 20 MB/s: 10 nJ a byte; a coarse figure. */
const STORAGE_J_PER_BYTE = 10e-9
/** A third of a busy core's power stays at a low frequency; coarse, and what calibrating finds out. */
const LOW_FREQUENCY_SHARE = 1 / 3

/**
 * A model for this machine before anybody calibrated it. For a known board, published measurements; for any other, a
 * guess from the number of cores whose error says that it is one.
 */
export function defaultModel({ sysRoot, procRoot }: Roots): PowerModel {
  const name = textOf(join(procRoot, 'device-tree/model')) ?? textOf(join(sysRoot, 'firmware/devicetree/base/model'))
  const board = name === undefined ? undefined : BOARDS.find(({ model }) => model.test(name))
  if (board !== undefined) {
    return modelOf(board, `${name}: ${board.origin}`, true)
  }
  const cores = Math.max(
    1,
    namesIn(join(sysRoot, 'devices/system/cpu')).filter((entry) => /^cpu\d+$/.test(entry)).length,
  )
  const x86 = namesIn(join(sysRoot, 'class/dmi/id')).length > 0
  const guess = x86
    ? { idleWatts: 4 + cores, fullWatts: 6 + 4 * cores, errorPercent: 60 }
    : { idleWatts: 1 + 0.25 * cores, fullWatts: 1.5 + cores, errorPercent: 50 }
  const what = `${name ?? (x86 ? 'a PC' : 'a board')} with ${cores} ${cores === 1 ? 'core' : 'cores'}`
  return modelOf({ ...guess, cores }, `A guess for ${what} that nobody measured; calibrate it against a meter`, false)
}

function modelOf(board: Omit<Board, 'model' | 'origin'>, origin: string, calibrated: boolean): PowerModel {
  const coreWatts = (board.fullWatts - board.idleWatts) / board.cores
  return {
    idleWatts: board.idleWatts,
    cpuWatts: coreWatts * LOW_FREQUENCY_SHARE,
    frequencyWatts: coreWatts * (1 - LOW_FREQUENCY_SHARE),
    radioJPerByte: RADIO_J_PER_BYTE,
    storageJPerByte: STORAGE_J_PER_BYTE,
    errorPercent: board.errorPercent,
    origin,
    calibrated,
  }
}

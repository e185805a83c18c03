import type { Calibration } from '../../agent/energy/calibrate.ts'
import { delay, systemClock } from '../../api/clock.ts'
import { scaled } from '../../api/vital-words.ts'
import { printable } from '../text.ts'
import { defineVerb, EXIT } from '../verb.ts'
import { AGENT_OPTIONS, openVitalsApi } from '../vitals-api.ts'

const LOOK_MS = 5_000

export const energyCalibrate = defineVerb({
  name: 'energy calibrate',
  summary: 'Fit the power model of this gateway to a meter',
  description:
    'Records a meter beside what the machine does, fits idle, processor, radio and storage to it, and tells the error on ' +
    'stretches that the fit had not seen. Let the machine be idle, busy and in between meanwhile. Without --adopt the ' +
    'model in force stays; with it the fit is used from now on, also after the meter is gone. Ctrl-C forgets the recording.',
  options: {
    ...AGENT_OPTIONS,
    meter: {
      kind: 'text',
      value: 'METER',
      help: 'As `sluice energy status` lists it. Default: what measures the whole.',
    },
    for: { kind: 'duration', value: 'TIME', help: 'Record for this long.', default: '10m' },
    adopt: { kind: 'flag', help: 'Use the fit from now on.' },
  },
  examples: [
    { command: 'sluice energy calibrate --for 20m', says: 'How good would a fit be?' },
    {
      command: 'sluice energy calibrate --meter device:plant/meter-1 --adopt',
      says: 'Fit to the twin of a meter, and use it',
    },
  ],
  async run({ options, out, signal, env }) {
    const api = openVitalsApi(options, env)
    const { meter, needed } = await api.startCalibration(options.meter, signal)
    out.note(
      `Recording ${meter ?? ''} for ${Math.round(options.for / 60_000)} min; keep the machine idle at times and busy at times.`,
    )
    const endMs = systemClock.monotonic() + options.for
    let calibration: Calibration
    try {
      // A machine with much to do gives fewer points than seconds: what is missing is recorded on top, for as long again.
      for (let points = 0; ; ) {
        const leftMs = endMs - systemClock.monotonic()
        if (leftMs <= 0 && (points >= needed || -leftMs >= options.for)) break
        await delay(systemClock, leftMs > 0 ? Math.min(LOOK_MS, leftMs) : LOOK_MS, signal)
        points = (await api.calibration(signal)).points
        if (out.interactive) out.note(`  ${points} points of at least ${needed}`)
      }
      calibration = await api.finishCalibration(options.adopt, signal)
    } catch (thrown) {
      await api.cancelCalibration(AbortSignal.timeout(2_000)).catch(() => {})
      if (!signal.aborted) throw thrown
      return EXIT.interrupted
    }
    if (out.json) out.value({ ...calibration, adopted: options.adopt })
    else for (const line of calibrationLines(calibration, options.adopt)) out.line(line)
    return EXIT.ok
  },
})

function calibrationLines(calibration: Calibration, adopted: boolean): string[] {
  const { model, points, errorWatts, errorPercent, explained, notes } = calibration
  return [
    `idle ${scaled(model.idleWatts, 'W')}, a busy core ${scaled(model.cpuWatts, 'W')} and ${scaled(model.frequencyWatts, 'W')} more at full frequency`,
    `radio ${scaled(model.radioJPerByte * 1e6, 'J')} and storage ${scaled(model.storageJPerByte * 1e6, 'J')} a megabyte`,
    `error ${scaled(errorWatts, 'W')} (${errorPercent.toFixed(1)} % of the mean) on what the fit had not seen; it explains ${Math.round(explained * 100)} % of the changes; ${points} points`,
    ...notes.map((note) => `note: ${printable(note)}`),
    adopted ? 'This is the model from now on.' : 'Nothing was changed; --adopt uses it.',
  ]
}

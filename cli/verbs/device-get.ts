import { SluiceError } from '../../api/errors.ts'
import { deviceKey, openDeviceApi, TARGET_OPTIONS } from '../device-api.ts'
import { deviceDetails } from '../device-table.ts'
import { nearest } from '../text.ts'
import { formatValue } from '../values.ts'
import { defineVerb, EXIT } from '../verb.ts'

export const deviceGet = defineVerb({
  name: 'device get',
  summary: 'One device, or one value of it',
  description:
    'With a property, prints the bare value and nothing else, and exits with 1 when its quality is not good: ready for a script.',
  positionals: { usage: 'DEVICE [PROPERTY]', min: 1, max: 2 },
  options: TARGET_OPTIONS,
  examples: [
    { command: 'sluice device get drive-1', says: 'Everything about default/drive-1' },
    { command: 'sluice device get plant/meter-3 power', says: 'One value, for a script' },
    { command: 'sluice device get drive-1 --json', says: 'The same as the API answers it' },
  ],
  async run({ options, args, out, signal, env }) {
    const key = deviceKey(args[0]!)
    const device = await openDeviceApi(options, env).device(key, signal)
    const property = args[1]
    if (property === undefined) {
      if (out.json) out.value(device)
      else for (const line of deviceDetails(device, Date.now(), out.style, out.width)) out.line(line)
      return EXIT.ok
    }
    const twin = device.twins.find((each) => each.name === property)
    if (twin === undefined) {
      const names = device.twins.map((each) => each.name)
      const [best] = nearest(property, names, 1)
      throw new SluiceError('SLUICE_CLI_PROPERTY_UNKNOWN', `${key} has no property '${property}'`, {
        hint: best === undefined ? `It has: ${names.join(', ')}.` : `Did you mean '${best}'?`,
      })
    }
    if (out.json) out.value(twin)
    else out.line(formatValue(twin.value))
    if (twin.quality === 'good') return EXIT.ok
    out.note(`quality is ${twin.quality ?? 'unknown'}${twin.reason === undefined ? '' : `: ${twin.reason}`}`)
    return EXIT.failure
  },
})

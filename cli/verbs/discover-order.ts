import { type Device, type DeviceModel, splitKey } from '../../api/resources.ts'
import { DEVICE_MODELS, DEVICES, objectPath } from '../../cloudcore/kube/paths.ts'
import { readInEveryOrder } from '../../mappers/modbus/orders.ts'
import { DEFAULT_DATA, dataFolder, deviceKey } from '../device-api.ts'
import { openKube } from '../kube.ts'
import { printable, table } from '../text.ts'
import { defineVerb, EXIT } from '../verb.ts'

export const discoverOrder = defineVerb({
  name: 'discover order',
  summary: 'A Modbus value in every word order and type, to find the right one',
  description:
    'Reads the registers of one property once, over a connection of its own from this machine, and shows them in every ' +
    'way that fits. Compare with the display of the device, then set order and as in the model. A serial port that ' +
    'an agent holds open is refused.',
  positionals: { usage: 'DEVICE PROPERTY', min: 2, max: 2 },
  options: { data: { kind: 'text', value: 'DIR', help: `Folder of the cloud core. Default ${DEFAULT_DATA}.` } },
  examples: [{ command: 'sluice discover order meter-2 voltage', says: 'The line with 230 is the right one' }],
  async run({ options, args, out, signal, env }) {
    const [name = '', property = ''] = args
    const key = splitKey(deviceKey(name))
    await using kube = openKube(dataFolder(options.data, env))
    const device = await kube.get<Device>(objectPath(DEVICES, key.name, key.namespace), { signal })
    const model = await kube.get<DeviceModel>(objectPath(DEVICE_MODELS, device.spec.model, key.namespace), { signal })
    const { registers, readings } = await readInEveryOrder(device.spec, model.spec, property, signal)
    const hex = Buffer.from(registers).toString('hex').toUpperCase()
    if (out.json) {
      out.value({ registers: hex, readings })
      return EXIT.ok
    }
    out.line(`registers ${hex.replace(/(.{4})(?=.)/g, '$1 ')}`)
    const columns = [{ title: 'AS' }, { title: 'ORDER' }, { title: 'VALUE', align: 'right' as const }, { title: '' }]
    const rows = readings.map(({ as, order, value, current }) => [
      as,
      order,
      printable(value),
      current ? out.style.green('as the model says') : '',
    ])
    for (const line of table(columns, rows, out.width, out.style.dim)) out.line(line)
    return EXIT.ok
  },
})

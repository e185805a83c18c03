import { join } from 'node:path'
import { SluiceError } from '../../api/errors.ts'
import { dataFolder } from '../device-api.ts'
import { readSecret } from '../secret-input.ts'
import { defineVerb, EXIT } from '../verb.ts'

const filters = (help: string) => ({ kind: 'text', value: 'FILTER', repeatable: true, help }) as const

export const mqttPasswd = defineVerb({
  name: 'mqtt passwd',
  summary: "A user of the gateway's own MQTT broker: password and rights",
  description:
    'Sets the password of a user in DIR/mqtt-users.json, and the rights that are given; those that are not stay as they ' +
    'are. A new user without rights may do nothing. A running agent knows it after its next start.',
  positionals: { usage: 'USER', min: 1, max: 1 },
  options: {
    data: { kind: 'text', value: 'DIR', help: 'Folder of the agent (also: SLUICE_DATA).' },
    'password-file': { kind: 'text', value: 'FILE', help: 'File with the password; - or nothing: standard input.' },
    publish: filters('Topics the user may publish to; %u stands for its name. May be given several times.'),
    subscribe: filters('Topics the user may subscribe to. May be given several times.'),
    device: { ...filters('Devices whose twins it may read and set: NAMESPACE/NAME or NAMESPACE/*.'), value: 'DEVICE' },
  },
  examples: [
    {
      command: "sluice mqtt passwd cellar --password-file pw --publish 'home/%u/#'",
      says: 'A sensor that may speak under its own name',
    },
    {
      command: "sluice mqtt passwd screen --subscribe 'sluice/#' --device 'default/*' < pw",
      says: 'A program that reads and sets every twin of a namespace',
    },
  ],
  async run({ options, args, out, env }) {
    const user = args[0]!
    const password = readSecret(options['password-file'], 'password-file')
    if (password === '') {
      throw new SluiceError('SLUICE_CLI_ARGUMENTS', `The password of '${user}' is empty`, {
        hint: 'Put at least one character into the file or the pipe.',
      })
    }
    const { setPassword } = await import('../../agent/broker/access.ts')
    const path = join(dataFolder(options.data, env), 'mqtt-users.json')
    const { publish, subscribe, device } = options
    await setPassword(path, user, password, {
      ...(publish.length === 0 ? {} : { publish }),
      ...(subscribe.length === 0 ? {} : { subscribe }),
      ...(device.length === 0 ? {} : { devices: device }),
    })
    if (out.json) out.value({ user, file: path })
    else {
      out.line(`User ${user} is set in ${path}`)
      out.note('Start the agent again, so that its broker knows')
    }
    return EXIT.ok
  },
})

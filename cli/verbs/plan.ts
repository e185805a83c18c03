import { existsSync } from 'node:fs'
import { SluiceError } from '../../api/errors.ts'
import type { Device, DeviceModel } from '../../api/resources.ts'
import type { DeviceBinding, PlanExplanation } from '../../mappers/sdk/mapper.ts'
import { deviceKey, openDeviceApi, TARGET_OPTIONS } from '../device-api.ts'
import { type PropertyPlace, planPicture } from '../plan-picture.ts'
import { defineVerb, EXIT } from '../verb.ts'

interface Drawn {
  readonly plan: PlanExplanation
  readonly places?: ReadonlyMap<string, PropertyPlace>
}

export const plan = defineVerb({
  name: 'plan',
  summary: 'How the gateway reads a device, drawn, and why',
  description:
    'Shows the requests, which properties each one serves, the time it takes on the link, which addresses are read ' +
    'along because that is faster than asking twice, and what the same would cost with one request a property.\n\n' +
    'With files it plans offline. With a name it asks the agent, whose plan knows the measured turnaround and learnt holes.',
  positionals: { usage: 'FILE...|DEVICE', min: 1, max: 100 },
  options: TARGET_OPTIONS,
  examples: [
    { command: 'sluice plan demo/', says: 'Every device of these files, offline' },
    { command: 'sluice plan meter-1', says: 'The plan in force on this gateway' },
    { command: 'sluice plan demo/ --json | jq .items[0].load', says: 'Share of the link, for a script' },
  ],
  async run({ options, args, out, signal, env }) {
    const offline = args.some((arg) => arg === '-' || /\.(ya?ml|json)$/.test(arg) || (existsSync(arg) && !isName(arg)))
    const drawn = offline ? await plansOfFiles(args) : await plansOfAgent(args, options, env, signal)
    if (out.json) out.value(drawn.length === 1 ? drawn[0]!.plan : { items: drawn.map((each) => each.plan) })
    else {
      for (const [index, each] of drawn.entries()) {
        if (index > 0) out.line()
        const options = { style: out.style, width: Math.min(out.width, 120) }
        const places = each.places === undefined ? {} : { places: each.places }
        for (const line of planPicture(each.plan, { ...options, ...places })) out.line(line)
      }
    }
    return drawn.some((each) => each.plan.load > 1) ? EXIT.failure : EXIT.ok
  },
})

/** A bare word is a device, even where a folder of that name happens to be. */
const isName = (text: string): boolean => /^[a-z0-9][-a-z0-9.]*$/.test(text) && !text.includes('.')

async function plansOfAgent(
  args: readonly string[],
  options: { readonly data: string | undefined; readonly cloud: boolean },
  env: Readonly<Record<string, string | undefined>>,
  signal: AbortSignal,
): Promise<Drawn[]> {
  const keys = args.map(deviceKey)
  const api = openDeviceApi(options, env)
  return Promise.all(keys.map(async (key) => ({ plan: await api.plan(key, signal) })))
}

async function plansOfFiles(paths: readonly string[]): Promise<Drawn[]> {
  const { keyOf, modelKeyOf, requireSoundFiles } = await import('../model-files.ts')
  const { devices, models } = await requireSoundFiles(paths)
  const byKey = new Map(models.map((model) => [keyOf(model), model]))
  if (devices.length === 0) {
    throw new SluiceError('SLUICE_CLI_NO_DEVICE', `There is no Device in ${paths.join(', ')}`, {
      hint: 'Give the file of the device too: its address says how fast the link is.',
    })
  }
  return Promise.all(devices.map((device) => planDevice(keyOf(device), device, byKey.get(modelKeyOf(device))!)))
}

async function planDevice(key: string, device: Device, model: DeviceModel): Promise<Drawn> {
  const { protocols } = await import('../../mappers/registry.ts')
  const protocol = protocols.find((each) => device.spec[each.name] !== undefined)
  if (protocol === undefined) {
    throw new SluiceError('SLUICE_CLI_NO_PLAN', `${key} speaks a protocol that Sluice does not plan`)
  }
  const explain = await protocol.explain()
  const binding: DeviceBinding = { key, device: device.spec, model: model.spec, revision: '' }
  const places = new Map<string, PropertyPlace>()
  // A model with a single property has a plan that says where this property lies, in every protocol's own terms.
  for (const property of model.spec.properties) {
    const [request] = explain({ ...binding, model: { ...model.spec, properties: [property] } }).requests
    if (request?.table === undefined || request.start === undefined || request.length === undefined) continue
    places.set(property.name, { table: request.table, start: request.start, length: request.length })
  }
  return { plan: explain(binding), places }
}

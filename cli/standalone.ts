import { createHash } from 'node:crypto'
import { existsSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { SluiceError } from '../api/errors.ts'
import { gatewayKey, type LinkDevice, type LinkGateway, type LinkModel, type LinkObject } from '../api/link/messages.ts'
import type { Gateway } from '../api/resources.ts'
import { modelFile } from './catalogue.ts'
import { keyOf, type ReadFiles, requireSoundFiles } from './model-files.ts'

/**
 * The objects of a gateway that has no cloud, from YAML: what the hub would replicate. A desired value's version is the
 * time the files were last changed, so that an edited file wins over what was desired before.
 */
export function standaloneObjects(
  { models, devices, resources }: Pick<ReadFiles, 'models' | 'devices' | 'resources'>,
  changedMs: number,
): LinkObject[] {
  const version = Math.floor(changedMs)
  return [
    ...ownGateway(resources).map(({ metadata, spec }): LinkObject => {
      const key = gatewayKey(metadata.name)
      const object: LinkGateway = { uid: `file:${key}`, generation: 1, spec }
      return { kind: 'Gateway', key, rev: digest(object), object }
    }),
    ...models.map((model): LinkObject => {
      const key = keyOf(model)
      const object: LinkModel = { uid: `file:${key}`, generation: 1, spec: model.spec }
      return { kind: 'DeviceModel', key, rev: digest(object), object }
    }),
    ...devices.map((device): LinkObject => {
      const key = keyOf(device)
      const desired = Object.entries(device.spec.desired ?? {}).map(
        ([name, value]) => [name, { value, version, atMs: version, by: 'file' }] as const,
      )
      const object: LinkDevice = {
        uid: `file:${key}`,
        generation: 1,
        spec: device.spec,
        desired: Object.fromEntries(desired),
      }
      return { kind: 'Device', key, rev: digest(object), object }
    }),
  ]
}

/** The gateway itself, where a file says something of it: its meter, its policy. */
function ownGateway(resources: ReadFiles['resources']): readonly Gateway[] {
  const gateways = resources.filter((each): each is Gateway => each.kind === 'Gateway')
  if (gateways.length <= 1) return gateways
  const names = gateways.map(({ metadata }) => metadata.name).join(', ')
  throw new SluiceError('SLUICE_CLI_NO_GATEWAY', `The files have several Gateways: ${names}`, {
    hint: 'Give the one that this machine is.',
  })
}

const digest = (object: object): string =>
  createHash('sha256').update(JSON.stringify(object)).digest('hex').slice(0, 16)

/** Checks the files and writes `DIR/objects.json` for the agent; returns its path. */
export async function writeStandaloneObjects(data: string, given: readonly string[]): Promise<string> {
  if (existsSync(join(data, 'identity.json'))) {
    throw new SluiceError(
      'SLUICE_CLI_JOINED',
      `The gateway in ${data} has joined a cloud core, which gives it its devices`,
      {
        hint: 'Apply the files there with kubectl apply, or give another folder for a gateway without a cloud: --data DIR.',
      },
    )
  }
  const read = await requireSoundFiles(given.map(modelFile))
  const changedMs = Math.max(...read.files.map((file) => (file === '-' ? Date.now() : statSync(file).mtimeMs)))
  const path = join(data, 'objects.json')
  writeFileSync(path, JSON.stringify(standaloneObjects(read, changedMs)), { mode: 0o600 })
  return path
}

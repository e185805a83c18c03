import { createHash } from 'node:crypto'
import { existsSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { SluiceError } from '../api/errors.ts'
import type { LinkDevice, LinkModel, LinkObject } from '../api/link/messages.ts'
import { modelFile } from './catalogue.ts'
import { keyOf, type ReadFiles, requireSoundFiles } from './model-files.ts'

/**
 * The objects of a gateway that has no cloud, from YAML: what the hub would replicate. A desired value's version is the
 * time the files were last changed, so that an edited file wins over what was desired before.
 */
export function standaloneObjects({ models, devices }: ReadFiles, changedMs: number): LinkObject[] {
  const version = Math.floor(changedMs)
  return [
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

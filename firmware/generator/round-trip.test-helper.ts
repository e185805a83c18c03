import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { DeviceModel, DeviceModelSpec } from '../../api/resources.ts'
import { loadManifests } from '../../api/yaml/load.ts'
import { references } from '../../cli/references.ts'
import { firmwareRoot, loadBoard } from '../tools/board.ts'
import { type Generated, type GenerateOptions, generate } from './generate.ts'
import { EMPTY_LOCK } from './lock.ts'

/** Every model of the catalogue that speaks Modbus, with what it refers to put in. */
export function catalogueModels(): { name: string; spec: DeviceModelSpec }[] {
  const folder = join(firmwareRoot, '..', 'devicemodels')
  return globSync('*/*.yaml', { cwd: folder })
    .filter((file) => !file.startsWith('fragments/'))
    .sort()
    .flatMap((file) => {
      const { resources } = loadManifests([{ file, text: readFileSync(join(folder, file), 'utf8') }], references)
      return resources.flatMap(({ resource }) => {
        if (resource.kind !== 'DeviceModel') return []
        const { metadata, spec } = resource as DeviceModel
        return spec.properties.some((each) => 'modbus' in each) ? [{ name: metadata.name, spec }] : []
      })
    })
}

export function generateFor(name: string, model: DeviceModelSpec, more: Partial<GenerateOptions> = {}): Generated {
  const line = { baud: 115_200, parity: 'none', stopBits: 1, shared: false } as const
  return generate({
    name,
    model,
    board: loadBoard('host'),
    lock: EMPTY_LOCK,
    version: { major: 1, minor: 2, revision: 3, build: 0 },
    gateway: { device: 'board', namespace: undefined, port: '/dev/ttyACM0', ...line, unit: 1 },
    line,
    unit: 1,
    hooks: true,
    managed: false,
    watchdogMs: 0,
    ...more,
  })
}

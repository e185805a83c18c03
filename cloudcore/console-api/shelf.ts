import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { SluiceError } from '../../api/errors.ts'
import type { DeviceModel } from '../../api/resources.ts'
import type { References } from '../../api/yaml/fragments.ts'
import { isModel } from './check-model.ts'

/** The models that come with Sluice; they lie beside the sources and in the package alike. */
const FOLDER = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? '../../devicemodels/' : '../devicemodels/', import.meta.url),
)
const FRAGMENTS = 'fragments'
const NAME = /^[a-z0-9][a-z0-9-]*$/

/** `VENDOR/MODEL` of every model that comes with Sluice, whether it is in the cluster or not. Reads names only. */
export async function shelfNames(): Promise<string[]> {
  const vendors = (await readdir(FOLDER, { withFileTypes: true })).filter(
    (entry) => entry.isDirectory() && entry.name !== FRAGMENTS,
  )
  const names = await Promise.all(
    vendors.map(async ({ name: vendor }) =>
      (await readdir(join(FOLDER, vendor)))
        .filter((file) => file.endsWith('.yaml'))
        .map((file) => `${vendor}/${file.slice(0, -'.yaml'.length)}`),
    ),
  )
  return names.flat().sort()
}

/**
 * One of them as it would be in the cluster: what it shares with others is put in.
 *
 * @throws SluiceError `SLUICE_API_NOT_FOUND` when there is none of that name.
 */
export async function shelfModel(vendor: string, name: string): Promise<DeviceModel> {
  const missing = (cause?: unknown) =>
    new SluiceError('SLUICE_API_NOT_FOUND', `no model '${vendor}/${name}' comes with Sluice`, { cause })
  if (!NAME.test(vendor) || !NAME.test(name) || vendor === FRAGMENTS) throw missing()
  const file = join(FOLDER, vendor, `${name}.yaml`)
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw missing(cause)
  })
  const { loadManifests } = await import('../../api/yaml/load.ts')
  const { resources } = loadManifests([{ file, text }], await references())
  const models = resources.flatMap(({ resource }) => (isModel(resource) ? [resource] : []))
  const model = models.find(({ metadata }) => metadata.name === `${vendor}-${name}`) ?? models[0]
  if (model === undefined) throw missing()
  return model
}

/** How the files refer to what they share; all of it is read before the text is. */
async function references(): Promise<References> {
  const { protocols } = await import('../../mappers/registry.ts')
  const folder = join(FOLDER, FRAGMENTS)
  const files = (await readdir(folder)).filter((file) => file.endsWith('.yaml'))
  const texts = new Map<string, string>()
  await Promise.all(files.map(async (file) => texts.set(file, await readFile(join(folder, file), 'utf8'))))
  return {
    fragmentOf(name) {
      const text = texts.get(`${name}.yaml`)
      return text === undefined ? undefined : { file: join(folder, `${name}.yaml`), text }
    },
    moved: (protocol, binding, by) => protocols.find(({ name }) => name === protocol)?.moved?.(binding, by),
  }
}

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { SluiceError } from '../api/errors.ts'
import type { DeviceModel } from '../api/resources.ts'
import type { SluiceResource } from '../api/validate.ts'
import { loadManifests } from '../api/yaml/load.ts'
import { protocols } from '../mappers/registry.ts'
import { catalogueFolder, FRAGMENTS } from './catalogue-folder.ts'
import { references } from './references.ts'
import { nearest } from './text.ts'

/** One model of the catalogue: `eastron/sdm120` lies in `devicemodels/eastron/sdm120.yaml`. */
export interface CatalogueFile {
  readonly name: string
  readonly file: string
}

/**
 * What the bytes that a model is tested with are, the strongest first: recorded from a device, from a public document
 * that gives them, or packed by hand from the published addresses and types.
 */
export const EVIDENCE = ['recorded', 'documented', 'constructed'] as const
export type Evidence = (typeof EVIDENCE)[number]
/** Properties by the strongest evidence there is for them. */
export type Evidences = Readonly<Partial<Record<Evidence, number>>>

/** `constructed`, or `documented 1 of 12` where the document's bytes show a part of the properties only. */
export function evidenceText(evidence: Evidences): string {
  const strongest = EVIDENCE.find((one) => (evidence[one] ?? 0) > 0) ?? 'constructed'
  const all = EVIDENCE.reduce((sum, one) => sum + (evidence[one] ?? 0), 0)
  const count = evidence[strongest] ?? 0
  return count === all ? strongest : `${strongest} ${count} of ${all}`
}

export interface CatalogueEntry extends CatalogueFile {
  readonly model: DeviceModel
  /** Protocols the model has bindings for. */
  readonly protocols: readonly string[]
  readonly evidence: Evidences
}

const folders = (path: string): string[] =>
  existsSync(path)
    ? readdirSync(path, { withFileTypes: true })
        .filter((entry) => entry.isDirectory() && entry.name !== FRAGMENTS)
        .map(({ name }) => name)
        .sort()
    : []

/** Every model file of the catalogue, by vendor, then by name. */
export function catalogueFiles(root = catalogueFolder()): CatalogueFile[] {
  return folders(root).flatMap((vendor) =>
    readdirSync(join(root, vendor))
      .filter((file) => file.endsWith('.yaml'))
      .sort()
      .map((file) => ({ name: `${vendor}/${file.slice(0, -'.yaml'.length)}`, file: join(root, vendor, file) })),
  )
}

const evidencePath = (root: string): string => join(root, 'evidence.json')

/** By model; `scripts/generate-catalogue.ts` writes it from the vectors, which are not in the package. */
function readEvidence(root: string): Readonly<Record<string, Evidences>> {
  const path = evidencePath(root)
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Record<string, Evidences>) : {}
}

/** The file of `eastron/sdm120`, or of `eastron-sdm120`, which is what the model itself is called. */
export const findInCatalogue = (name: string, root = catalogueFolder()): CatalogueFile | undefined =>
  catalogueFiles(root).find((each) => each.name === name || each.name.replace('/', '-') === name)

const isModel = (resource: SluiceResource): resource is DeviceModel => resource.kind === 'DeviceModel'

export const protocolsOf = (model: DeviceModel): string[] =>
  [...protocols.map(({ name }) => name), 'custom'].filter((protocol) =>
    model.spec.properties.some((property) => property[protocol] !== undefined),
  )

/** The whole catalogue, read and validated; what is unsound is left out (a test holds that nothing is). */
export function readCatalogue(root = catalogueFolder()): CatalogueEntry[] {
  const files = catalogueFiles(root)
  const { resources } = loadManifests(
    files.map(({ file }) => ({ file, text: readFileSync(file, 'utf8') })),
    references,
  )
  const models = resources.flatMap(({ resource }) => (isModel(resource) ? [resource] : []))
  const evidence = readEvidence(root)
  const byName = new Map(models.map((model) => [model.metadata.name, model]))
  return files.flatMap(({ name, file }) => {
    const model = byName.get(name.replace('/', '-'))
    return model === undefined
      ? []
      : [{ name, file, model, protocols: protocolsOf(model), evidence: evidence[name] ?? {} }]
  })
}

/**
 * The file that a model's file or its name in the catalogue stands for; anything else comes back as it is.
 *
 * @throws SluiceError `SLUICE_CLI_NO_MODEL` for what looks like a name of the catalogue and is none.
 */
export function modelFile(given: string): string {
  if (given === '-' || existsSync(given)) return given
  const found = findInCatalogue(given)
  if (found !== undefined) return found.file
  if (!/^[a-z0-9][a-z0-9-]*\/[a-z0-9][a-z0-9-]*$/.test(given)) return given
  const [near] = nearest(
    given,
    catalogueFiles().map(({ name }) => name),
    1,
  )
  throw new SluiceError('SLUICE_CLI_NO_MODEL', `There is no file and no model '${given}'`, {
    hint:
      near === undefined
        ? "'sluice model ls' lists the catalogue."
        : `Did you mean '${near}'? 'sluice model ls' lists all.`,
  })
}

import { readFileSync } from 'node:fs'
import { relative } from 'node:path'
import { SluiceError } from '../../api/errors.ts'
import type { DeviceModel } from '../../api/resources.ts'
import { type LoadedResource, loadManifests, locateFindings } from '../../api/yaml/load.ts'
import type { LocatedFinding } from '../../api/yaml/read.ts'
import { fileError } from '../../firmware/project/files.ts'
import { type Made, type MadeOptions, plan } from '../../firmware/project/make.ts'
import { loadProject, type Project } from '../../firmware/project/project.ts'
import { references } from '../references.ts'

/** A project read and planned, with everything that is wrong with it; nothing is written. */
export interface Checked {
  readonly project: Project
  /** Undefined when the model is so wrong that nothing can be planned. */
  readonly made: Made | undefined
  readonly model: DeviceModel | undefined
  readonly findings: readonly LocatedFinding[]
  readonly sources: ReadonlyMap<string, string>
}

export function checkProject(path: string, options: MadeOptions = {}): Checked {
  const project = loadProject(path)
  const file = relative(process.cwd(), project.model) || project.model
  let text: string
  try {
    text = readFileSync(project.model, 'utf8')
  } catch (cause) {
    throw fileError(project.model, cause)
  }
  const loaded = loadManifests([{ file, text }], references)
  // What is bound nowhere is what the generator finds a place for.
  const read = { ...loaded, findings: loaded.findings.filter(({ code }) => code !== 'SLUICE_MODEL_UNBOUND') }
  const models = read.resources.filter(({ resource }) => resource.kind === 'DeviceModel')
  const errors = read.findings.filter(({ severity }) => severity === 'error')
  const [only, ...others] = models
  if (errors.length > 0 || only === undefined) {
    if (errors.length === 0) throw noModel(file)
    return { project, made: undefined, model: undefined, findings: read.findings, sources: read.sources }
  }
  if (others.length > 0)
    throw new SluiceError('SLUICE_FW_MODEL_INVALID', `${file} has ${models.length} models; a board is made of one`, {
      hint: 'Put the others into files of their own.',
    })
  const model = only.resource as DeviceModel
  const planned = plan(project, { name: model.metadata.name, spec: model.spec }, options)
  const findings = [...read.findings, ...located(only, planned.findings)]
  return { project, made: planned, model, findings, sources: read.sources }
}

const located = ({ document }: LoadedResource, findings: Parameters<typeof locateFindings>[1]): LocatedFinding[] =>
  locateFindings(document, findings)

const noModel = (file: string): SluiceError =>
  new SluiceError('SLUICE_FW_MODEL_INVALID', `there is no DeviceModel in ${file}`, {
    hint: 'Begin it with apiVersion: sluice.dev/v1alpha1 and kind: DeviceModel.',
  })

/** A project that is sound; throws its first error, with file, line and field. */
export function requireProject(path: string, options: MadeOptions = {}): Made & { readonly model: DeviceModel } {
  const { made, model, findings } = checkProject(path, options)
  const errors = findings.filter(({ severity }) => severity === 'error')
  const [first] = errors
  if (first === undefined && made !== undefined && model !== undefined) return { ...made, model }
  const more = errors.length > 1 ? ` (and ${errors.length - 1} more)` : ''
  throw new SluiceError(
    first?.code ?? 'SLUICE_FW_MODEL_INVALID',
    `${first?.message ?? 'the model cannot be used'}${more}`,
    {
      hint: `${first?.hint ?? ''} All findings: sluice fw validate ${path}`,
      ...(first === undefined
        ? {}
        : { field: first.path.join('.'), position: { file: first.file, line: first.line, column: first.column } }),
    },
  )
}

import { SluiceError } from '../../api/errors.ts'
import type { DeviceModel, DeviceModelSpec } from '../../api/resources.ts'
import type { SluiceResource } from '../../api/validate.ts'
import type { Finding } from '../../api/yaml/findings.ts'

/** What the editor of the console marks: places count from 1. */
export interface ModelFinding {
  readonly severity: 'error' | 'warning'
  readonly line: number
  readonly column: number
  readonly message: string
  readonly hint: string
}

export interface ModelCheck {
  readonly findings: readonly ModelFinding[]
  /** Models of the text that are sound. */
  readonly models: readonly string[]
}

/** Checks a YAML text of DeviceModels with the schema and with what the protocols know, as `sluice model lint` does. */
export async function checkModelText(
  text: string,
): Promise<{ readonly check: ModelCheck; readonly models: readonly DeviceModel[] }> {
  // Neither the reader of YAML nor the compiled schemas are needed by a cloud core that nobody edits models on.
  const { loadManifests, locateFindings } = await import('../../api/yaml/load.ts')
  const { protocols } = await import('../../mappers/registry.ts')
  const loaded = loadManifests([{ file: 'model.yaml', text }])
  const findings = [...loaded.findings]
  const models: DeviceModel[] = []
  for (const { resource, document } of loaded.resources) {
    if (!isModel(resource)) {
      throw new SluiceError('SLUICE_API_BAD_REQUEST', `this is a ${resource.kind}; only DeviceModels belong here`, {
        hint: 'Apply anything else with kubectl.',
      })
    }
    models.push(resource)
    for (const protocol of protocols) {
      if (!mentions(resource.spec, protocol.name)) continue
      const lint = await protocol.lint()
      const found = lint(resource.spec, []).map((finding) => ({ ...finding, path: specPath(finding.path) }))
      findings.push(...locateFindings(document, found))
    }
  }
  return {
    check: {
      findings: findings
        .map(({ severity, line, column, message, hint }) => ({ severity, line, column, message, hint }))
        .sort((a, b) => a.line - b.line || a.column - b.column),
      models: models.map(({ metadata }) => metadata.name),
    },
    models,
  }
}

export const isModel = (resource: SluiceResource): resource is DeviceModel => resource.kind === 'DeviceModel'

const mentions = (spec: DeviceModelSpec, protocol: string): boolean =>
  spec[protocol] !== undefined || spec.properties.some((property) => property[protocol] !== undefined)

/** Protocols see specs, the text holds whole resources. */
const specPath = (path: Finding['path']): Finding['path'] => (path[0] === 'spec' ? path : ['spec', ...path])

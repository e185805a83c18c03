import type { Json, ModelProperty } from '../../api/resources.ts'
import type { GatewayConnection } from './connection.ts'
import { topicOf } from './message.ts'

/** What the editor's pickers offer. */
export interface Catalogue {
  readonly state: 'connecting' | 'connected' | 'lost'
  readonly reason?: string
  readonly devices: readonly CatalogueDevice[]
  readonly gateways: readonly string[]
  /** Of a cloud core; absent where nobody knows of pods. */
  readonly pods?: readonly { readonly key: string; readonly node?: string }[]
}

export interface CatalogueDevice {
  readonly key: string
  /** As it is written in topics. */
  readonly label: string
  readonly model: string
  readonly state: string
  readonly properties: readonly CatalogueProperty[]
  readonly methods: readonly { readonly name: string; readonly properties: readonly string[] }[]
}

export interface CatalogueProperty {
  readonly name: string
  readonly type: string
  readonly access: string
  readonly unit?: string
  readonly min?: number
  readonly max?: number
  readonly enum?: readonly Json[]
  readonly description?: string
  readonly value?: Json
}

export async function catalogue(connection: GatewayConnection): Promise<Catalogue> {
  await connection.refresh()
  const { state } = connection
  const pods = state.is === 'connected' ? await connection.pods() : undefined
  const devices = [...connection.devices.values()].map((view): CatalogueDevice => {
    const model = connection.models.get(`${view.namespace}/${view.model}`)?.spec
    const values = new Map(view.twins.map(({ name, value }) => [name, value]))
    return {
      key: `${view.namespace}/${view.name}`,
      label: topicOf(view),
      model: view.model,
      state: view.state,
      properties: (model?.properties ?? []).map((property) => offered(property, values.get(property.name))),
      methods: (model?.methods ?? []).map(({ name, properties }) => ({ name, properties })),
    }
  })
  return {
    state: state.is,
    ...(state.is === 'lost' ? { reason: state.reason } : {}),
    devices: devices.sort((a, b) => (a.label < b.label ? -1 : 1)),
    gateways: [...connection.gateways].map(({ name }) => name).sort(),
    ...(pods === undefined ? {} : { pods }),
  }
}

function offered(property: ModelProperty, value: Json | undefined): CatalogueProperty {
  const { name, type, access = 'read', unit, min, max, description } = property
  return {
    name,
    type,
    access,
    ...(unit === undefined ? {} : { unit }),
    ...(min === undefined ? {} : { min }),
    ...(max === undefined ? {} : { max }),
    ...(property.enum === undefined ? {} : { enum: property.enum }),
    ...(description === undefined ? {} : { description }),
    ...(value === undefined ? {} : { value }),
  }
}

import { type StructuralSchema, toStructural } from './crd-structural.ts'
import { GROUP, VERSION } from './resources.ts'
import type { ProtocolSchema } from './schema/protocol.ts'
import { type PrinterColumn, type ResourceDefinition, resourceDefinitions } from './schema/resources.ts'

/** `CustomResourceDefinition` of apiextensions.k8s.io/v1, as far as Sluice fills it. */
export interface CrdManifest {
  readonly apiVersion: 'apiextensions.k8s.io/v1'
  readonly kind: 'CustomResourceDefinition'
  readonly metadata: { readonly name: string; readonly labels: Readonly<Record<string, string>> }
  readonly spec: {
    readonly group: string
    readonly scope: 'Namespaced' | 'Cluster'
    readonly names: {
      readonly kind: string
      readonly listKind: string
      readonly plural: string
      readonly singular: string
      readonly shortNames: readonly string[]
      readonly categories: readonly string[]
    }
    readonly versions: readonly CrdVersion[]
  }
}

export interface CrdVersion {
  readonly name: string
  readonly served: boolean
  readonly storage: boolean
  readonly schema: { readonly openAPIV3Schema: StructuralSchema }
  readonly subresources: { readonly status: Readonly<Record<string, never>> }
  readonly additionalPrinterColumns: readonly PrinterColumn[]
  readonly selectableFields?: readonly { readonly jsonPath: string }[]
}

function rootSchema(definition: ResourceDefinition): StructuralSchema {
  return {
    type: 'object',
    description: `${definition.kind} of ${GROUP}.`,
    ...(definition.specRequired ? { required: ['spec'] } : {}),
    ...(definition.rules === undefined ? {} : { 'x-kubernetes-validations': definition.rules }),
    properties: {
      apiVersion: { type: 'string' },
      kind: { type: 'string' },
      metadata: { type: 'object' },
      spec: toStructural(definition.spec, `${definition.kind}.spec`),
      status: toStructural(definition.status, `${definition.kind}.status`),
    },
  }
}

function crdManifest(definition: ResourceDefinition): CrdManifest {
  const { kind, plural, shortNames, namespaced, columns, selectableFields } = definition
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${GROUP}`, labels: { 'app.kubernetes.io/part-of': 'sluice' } },
    spec: {
      group: GROUP,
      scope: namespaced ? 'Namespaced' : 'Cluster',
      names: {
        kind,
        listKind: `${kind}List`,
        plural,
        singular: kind.toLowerCase(),
        shortNames,
        categories: ['sluice'],
      },
      versions: [
        {
          name: VERSION,
          served: true,
          storage: true,
          schema: { openAPIV3Schema: rootSchema(definition) },
          subresources: { status: {} },
          additionalPrinterColumns: columns,
          ...(selectableFields === undefined
            ? {}
            : { selectableFields: selectableFields.map((jsonPath) => ({ jsonPath })) }),
        },
      ],
    },
  }
}

/**
 * The CustomResourceDefinitions of every Sluice kind, with the given protocols' bindings. They are what `sluice crds`
 * prints and what a Kubernetes API server (1.32 and later) accepts.
 * Throws SLUICE_CRD_NOT_STRUCTURAL when a protocol's schema says something a CRD cannot.
 */
export const crdManifests = (protocols: readonly ProtocolSchema[]): readonly CrdManifest[] =>
  resourceDefinitions(protocols).map(crdManifest)

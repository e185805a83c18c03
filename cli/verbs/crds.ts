import { defineVerb, EXIT } from '../verb.ts'

export const crds = defineVerb({
  name: 'crds',
  summary: 'The CustomResourceDefinitions for a cluster of your own',
  description:
    'Prints DeviceModel, Device and Gateway as YAML documents. The embedded API has them already; a cluster of your own ' +
    'needs them once, before the cloud core is pointed at it.',
  options: {},
  examples: [
    { command: 'sluice crds | kubectl apply --server-side -f -', says: 'Install or update them' },
    { command: 'sluice crds --json | jq .items[].metadata.name', says: 'The same as one List' },
  ],
  async run({ out }) {
    const [{ crdManifests }, { protocols }, { stringify }] = await Promise.all([
      import('../../api/crd.ts'),
      import('../../mappers/registry.ts'),
      import('yaml'),
    ])
    const schemas = await Promise.all(protocols.map((protocol) => protocol.schema()))
    const items = crdManifests(schemas)
    if (out.json) out.value({ apiVersion: 'v1', kind: 'List', items })
    else for (const item of items) out.raw(`---\n${stringify(item, { aliasDuplicateObjects: false, lineWidth: 0 })}`)
    return EXIT.ok
  },
})

import { statSync } from 'node:fs'
import { resolve } from 'node:path'
import { makeBundle, parseArchitecture } from '../flash/bundle.ts'
import { gigabytes } from '../flash/disks.ts'
import { defineVerb, EXIT } from '../verb.ts'

export const flashBundle = defineVerb({
  name: 'flash bundle',
  summary: 'Everything a gateway needs to run Sluice, in one file for a card',
  description:
    'Packs this installation with the Node and the native parts for the gateway, through npm and the registry it is ' +
    "configured for, running no scripts. 'sluice flash gateway --bundle' puts it on a card; the gateway then fetches " +
    'nothing by itself.',
  options: {
    arch: { kind: 'text', value: 'ARCH', default: 'arm64', help: 'Of the gateway: arm64 or x64.' },
    out: { kind: 'text', short: 'o', value: 'FILE', default: 'sluice-bundle.tar.gz', help: 'Where to write it.' },
  },
  examples: [
    { command: 'sluice flash bundle -o sluice-arm64.tar.gz', says: 'For a Raspberry Pi' },
    { command: 'sluice flash bundle --arch x64 -o sluice-x64.tar.gz', says: 'For a PC' },
  ],
  async run({ options, out, signal }) {
    const file = resolve(options.out)
    await makeBundle(file, parseArchitecture(options.arch), signal, (line) => out.note(line))
    const { size } = statSync(file)
    if (out.json) out.value({ file, bytes: size, arch: options.arch })
    else out.line(`${file} (${gigabytes(size)})`)
    return EXIT.ok
  },
})

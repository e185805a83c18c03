import { relative } from 'node:path'
import { requireProject } from '../fw/load.ts'
import { signProject } from '../fw/release.ts'
import { SIGNING_OPTIONS } from '../fw/signing-options.ts'
import { defineVerb, EXIT } from '../verb.ts'

export const fwSign = defineVerb({
  name: 'fw sign',
  summary: 'Build, sign and check the images of both slots',
  description:
    'Each image is linked for its slot, carries board, model hash, version and security counter, and is checked as a ' +
    'bootloader checks it before it is written. Refuses to run with a private key in the data folder of an agent.',
  positionals: { usage: '[FOLDER]', min: 0, max: 1 },
  options: SIGNING_OPTIONS,
  examples: [
    { command: 'sluice fw sign greenhouse --keys ~/keys/greenhouse', says: 'With a key of your own' },
    { command: 'sluice fw sign greenhouse --dev', says: 'For the bench' },
  ],
  async run({ options, args, out, signal }) {
    const { board, keys, next, dev, counter } = options
    const made = requireProject(args[0] ?? '.', board === undefined ? {} : { board })
    const release = await signProject(made, { keys, next, development: dev, counter }, signal)
    const { name, spec, images, development } = release
    if (out.json) out.value({ name, spec, development, files: images.map(({ slot, file }) => ({ slot, file })) })
    else {
      out.line(
        `${out.style.green('✓')} ${name}: ${spec.board}, version ${spec.version}, counter ${spec.securityCounter}`,
      )
      for (const { slot, file, bytes } of images)
        out.line(`  ${slot}  ${relative(process.cwd(), file)}  ${bytes.length} bytes`)
      if (development) out.note('signed with the development key: production boards refuse it')
    }
    return EXIT.ok
  },
})

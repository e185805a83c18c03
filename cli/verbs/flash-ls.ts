import { gigabytes, listDevices, objectionsTo } from '../flash/disks.ts'
import { defineVerb, EXIT } from '../verb.ts'

export const flashLs = defineVerb({
  name: 'flash ls',
  summary: 'The disks an image can be written to, and why not to the others',
  description: 'Reads lsblk; writes nothing and needs no rights.',
  options: {},
  examples: [
    { command: 'sluice flash ls', says: 'Every disk of this machine' },
    { command: "sluice flash ls --json | jq '.disks[] | select(.usable)'", says: 'Only what can be written to' },
  ],
  async run({ out, signal }) {
    const wish = { imageBytes: 1, imagePath: undefined, allowLarge: false, allowFixed: false }
    const devices = await listDevices(signal)
    const disks = devices
      .filter(({ type, sizeBytes, name }) => type === 'disk' && (sizeBytes > 0 || !name.startsWith('zram')))
      .map((disk) => {
        const { path, model, sizeBytes, transport } = disk
        const reasons = objectionsTo(disk, wish)
        return {
          path,
          model: model ?? null,
          sizeBytes,
          transport: transport ?? null,
          usable: reasons.length === 0,
          reasons,
        }
      })
    if (out.json) {
      out.value({ disks })
      return EXIT.ok
    }
    for (const { path, model, sizeBytes, usable, reasons } of disks) {
      const mark = usable ? out.style.green('✓') : out.style.dim('–')
      out.line(`${mark} ${path}  ${model ?? 'no model'}  ${gigabytes(sizeBytes)}`)
      for (const { reason, unless } of reasons) {
        out.line(out.style.dim(`    ${reason}${unless === undefined ? '' : ` (${unless})`}`))
      }
    }
    if (!disks.some(({ usable }) => usable)) out.note('There is none to write to. Put a card in.')
    return EXIT.ok
  },
})

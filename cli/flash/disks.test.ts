import { describe, expect, it } from 'vitest'
import { toSluiceError } from '../../api/errors.ts'
import { chooseDevice } from './choose.ts'
import { type BlockDevice, objectionsTo, parseLsblk, type Wish } from './disks.ts'

const WISH: Wish = { imageBytes: 4e9, imagePath: undefined, allowLarge: false, allowFixed: false }

const disk = (over: Record<string, unknown> = {}): BlockDevice =>
  parseLsblk(
    JSON.stringify({
      blockdevices: [
        {
          name: 'sdb',
          path: '/dev/sdb',
          type: 'disk',
          size: 32e9,
          rm: true,
          ro: false,
          hotplug: true,
          mountpoints: [null],
          model: 'STORAGE DEVICE  ',
          tran: 'usb',
          fstype: null,
          'maj:min': '8:16',
          ...over,
        },
      ],
    }),
  )[0]!
const part = (over: Record<string, unknown>) => ({ name: 'sdb1', path: '/dev/sdb1', type: 'part', size: 1e9, ...over })
const reasons = (device: BlockDevice, wish: Partial<Wish> = {}) =>
  objectionsTo(device, { ...WISH, ...wish }).map(({ reason }) => reason)

describe('a disk', () => {
  it('with a card for it is taken, also when a desktop has mounted it', () => {
    expect(reasons(disk())).toEqual([])
    expect(reasons(disk({ children: [part({ mountpoints: ['/media/me/bootfs'] })] }))).toEqual([])
    expect(reasons(disk({ name: 'mmcblk0', rm: false, tran: null }))).toEqual([])
  })

  it.each([
    ['the system', { children: [part({ mountpoints: ['/'] })] }, 'this system runs from it'],
    ['/boot/efi', { children: [part({ mountpoints: ['/boot/efi'] })] }, 'this system runs from it'],
    [
      'the system, under encryption and LVM',
      {
        children: [
          part({
            children: [
              { path: '/dev/dm-0', type: 'crypt', children: [{ path: '/dev/dm-1', type: 'lvm', mountpoints: ['/'] }] },
            ],
          }),
        ],
      },
      'this system runs from it',
    ],
    ['swap', { children: [part({ mountpoints: ['[SWAP]'] })] }, 'swaps'],
    ['a mount of somebody', { children: [part({ mountpoints: ['/mnt/backup'] })] }, 'mounted at /mnt/backup'],
    ['a member of a volume group', { children: [part({ fstype: 'LVM2_member' })] }, 'volume group or array'],
    ['a member of an array', { fstype: 'linux_raid_member' }, 'volume group or array'],
    ['an array that runs', { children: [part({ children: [{ path: '/dev/md0', type: 'raid1' }] })] }, 'in use on it'],
    ['a write protection', { ro: true }, 'read-only'],
    ['no card', { size: 0 }, 'no card'],
    ['too little room', { size: 2e9 }, 'the image needs 4.0 GB'],
    ['far too much room', { size: 2e12 }, 'suspiciously large'],
    ['no way to take it out', { rm: false, hotplug: false, tran: 'nvme' }, 'not removable'],
    ['old text in place of booleans', { rm: '0', hotplug: '0', ro: '1' }, 'read-only'],
  ])('with %s is refused', (_, over, reason) => {
    expect(reasons(disk(over as Record<string, unknown>)).join('; ')).toContain(reason)
  })

  it('is refused when the image lies on it', () => {
    // Whatever holds this file, by the number its file system gives.
    const found = ['0:0'].concat(
      Array.from({ length: 300 }, (_, major) => Array.from({ length: 128 }, (_, minor) => `${major}:${minor}`)).flat(),
    )
    const hits = found.filter((number) =>
      reasons(disk({ 'maj:min': number }), { imagePath: import.meta.filename }).includes('the image itself lies on it'),
    )
    expect(hits.length).toBe(1)
  })

  it('may be large or fixed only when that is asked for, and never the system', () => {
    expect(reasons(disk({ size: 2e12 }), { allowLarge: true })).toEqual([])
    expect(reasons(disk({ rm: false, hotplug: false }), { allowFixed: true })).toEqual([])
    expect(reasons(disk({ mountpoints: ['/'] }), { allowFixed: true, allowLarge: true })).not.toEqual([])
  })
})

describe('--device auto', () => {
  const failure = (devices: readonly BlockDevice[]) => {
    try {
      chooseDevice('auto', devices, WISH)
    } catch (thrown) {
      return toSluiceError(thrown)
    }
    throw new Error('it chose')
  }

  it('takes the only one, and asks for its model', () => {
    const system = disk({ path: '/dev/sda', mountpoints: ['/'] })
    expect(chooseDevice('auto', [system, disk()], WISH)).toMatchObject({ path: '/dev/sdb', title: 'STORAGE DEVICE' })
  })

  it('says why there is none, and which when there are two', () => {
    expect(failure([disk({ ro: true })])).toMatchObject({
      code: 'SLUICE_FLASH_DEVICE_NOT_FOUND',
      message: expect.stringContaining('read-only'),
    })
    expect(failure([disk(), disk({ path: '/dev/sdc' })])).toMatchObject({
      code: 'SLUICE_FLASH_DEVICE_AMBIGUOUS',
      message: expect.stringContaining('/dev/sdc'),
    })
  })
})

it('reads whatever lsblk may say without an error', () => {
  for (const text of [
    '{}',
    '[]',
    'null',
    '{"blockdevices": [1, null, {"path": 7}, {"path": "/dev/x", "children": "no"}]}',
  ]) {
    expect(() => parseLsblk(text)).not.toThrow()
  }
})

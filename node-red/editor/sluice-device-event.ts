import { preparePickers } from './pickers.ts'

RED.nodes.registerType('sluice-device-event', {
  category: 'Sluice',
  color: '#c3d69b',
  icon: 'font-awesome/fa-heartbeat',
  defaults: {
    name: { value: '' },
    gateway: { value: '', type: 'sluice-gateway', required: true },
    device: { value: '' },
    model: { value: '' },
    every: { value: false },
  },
  inputs: 0,
  outputs: 1,
  paletteLabel: 'device event',
  label() {
    return this.name || String(this['device'] || this['model'] || 'device event').replace(/^default\//, '')
  },
  labelStyle() {
    return this.name ? 'node_label_italic' : ''
  },
  oneditprepare() {
    preparePickers(this, { device: true, model: true, anyKey: 'picker.anyDevice' })
  },
})

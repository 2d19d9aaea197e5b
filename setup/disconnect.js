require('./script.js').run('disconnect.sh');
